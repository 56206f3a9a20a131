"""One storage has one type and one size, and its record as many bytes: torch takes the first, and does not check."""

import struct

import pytest
import torch
from differential.crafted import (
    COUNT,
    NAME,
    SHAPE,
    STORAGES,
    A,
    B,
    archive,
    arguments,
    index,
    pickled,
    state_dict,
    storage,
    tensor,
)
from fuzz.differential.opcodes import call, dictionary, integer, integers, named, several, text

from vqcheck.errors import CheckpointError


def first_as(held, shape=(1,)):
    one = call("torch._utils", "_rebuild_tensor_v2", held, integer(0), integers(shape), integers((1,)), b"\x89N")
    return dictionary((text("before"), several(one)), (text("weight"), state_dict()))


@pytest.mark.parametrize("kind", ["IntStorage", "HalfStorage", "ByteStorage", "UntypedStorage"])
def test_a_storage_of_two_types_is_refused(kind, put, vqcheck_value):
    module = "torch.storage" if kind == "UntypedStorage" else "torch"
    with pytest.raises(CheckpointError, match="gives storage a two element types"):
        vqcheck_value(put(archive(pickled(first_as(storage("a", COUNT, kind, module))))))


def test_torch_keeps_the_first_type_of_a_storage(put):
    path = put(archive(pickled(first_as(storage("a", COUNT, "IntStorage")))))
    assert torch.load(path, weights_only=True)["weight"][NAME].dtype == torch.int32


@pytest.mark.parametrize("count", [1, 2 * COUNT])
def test_a_storage_of_two_sizes_is_refused(count, put, vqcheck_value):
    with pytest.raises(CheckpointError, match="gives storage a two sizes"):
        vqcheck_value(put(archive(pickled(first_as(storage("a", count))))))


@pytest.mark.parametrize(("held", "than"), [(A + B, "fewer"), (A + b"\0", "fewer"), (A[:-4], "more"), (b"", "more")])
def test_a_record_of_another_length_than_its_count_is_refused(held, than, put, vqcheck_value):
    with pytest.raises(CheckpointError, match=f"{NAME}: its storage claims {COUNT} elements, {than} than are stored"):
        vqcheck_value(put(archive(index(), STORAGES | {"a": held})))


@pytest.mark.parametrize("location", ["meta", "meta:0"])
def test_a_storage_without_data_is_refused(location, put, vqcheck_value):
    with pytest.raises(CheckpointError, match="storage without data"):
        vqcheck_value(put(archive(index(state_dict(tensor(storage("a", location=location)))))))


@pytest.mark.parametrize("module", ["torch.cuda", "torch.storage"])
def test_a_storage_type_of_another_module_of_torch_is_the_same(module, agreed):
    agreed(archive(index(state_dict(tensor(storage("b", module=module))))), B, full=True)


def test_a_storage_type_of_a_module_that_is_not_torchs_is_refused(refused):
    held = storage("b", module="mine")
    refused(archive(index(state_dict(tensor(held)))), A, "under a name that torch reads differently", full=True)


def test_a_typed_view_counts_its_offset_in_its_own_type(agreed):
    held = storage("c", 8 * COUNT, "UntypedStorage", "torch.storage")
    typed = call("torch._utils", "_rebuild_tensor_v3", *arguments(held, COUNT), named("torch", "float32"))
    agreed(archive(index(state_dict(typed)), STORAGES | {"c": A + B}), B)


def test_more_parts_of_a_storage_than_torch_writes_are_refused(put, vqcheck_value):
    with pytest.raises(CheckpointError, match="view of a torch storage in a way that torch does not write"):
        vqcheck_value(put(archive(index(state_dict(tensor(storage("a", view=b"N")))))))


def test_wide_values_are_those_of_torch(agreed):
    wide = struct.pack("<6d", *range(6))
    held = storage("d", kind="DoubleStorage")
    agreed(archive(index(state_dict(tensor(held))), STORAGES | {"d": wide}), wide)
    assert SHAPE == (3, 2)
