"""A view in a legacy file is part of a storage under a key of its own; torch keeps both kinds of keys in one table."""

import pytest
from differential.crafted import COUNT, NAME, A, B, legacy, legacy_state, legacy_storage, tensor
from fuzz.differential.opcodes import EMPTY, TRUE, call, dictionary, group, integer, named, several, text

from vqcheck.errors import CheckpointError

HELD = {"a": A + B, "b": B}


def view(offset, count=COUNT, key="v"):
    return group(text(key), integer(offset), integer(count))


def weight(*views):
    tensors = [tensor(legacy_storage("a", 2 * COUNT, view=each)) for each in views]
    names = [NAME, *(f"x{number}" for number in range(len(tensors) - 1))]
    rest = (text("other"), tensor(legacy_storage("b")))
    return dictionary(*zip([text(name) for name in names[::-1]], tensors, strict=True), rest)


@pytest.mark.parametrize(("offset", "values"), [(0, A), (COUNT, B), (1, (A + B)[4:28])])
def test_a_view_is_read_where_torch_reads_it(offset, values, agreed):
    agreed(legacy(weight(view(offset)), HELD), values)


def test_two_views_of_one_storage_under_two_keys_are_read(agreed):
    agreed(legacy(weight(view(0, key="v"), view(COUNT, key="w")), HELD), B)


def test_a_key_used_again_with_another_place_is_refused(refused):
    # torch keeps the first
    refused(legacy(weight(view(COUNT), view(0)), HELD), A, "gives view v two places")


@pytest.mark.parametrize("key", ["a", "b"])
def test_a_view_under_the_key_of_a_storage_is_refused(key, put, vqcheck_value):
    with pytest.raises(CheckpointError, match=f"gives a storage and a view of one the same key {key}"):
        vqcheck_value(put(legacy(weight(view(COUNT, key=key)), HELD)))


@pytest.mark.parametrize(
    "described",
    [
        several(text("v"), integer(COUNT), integer(COUNT)),
        group(text("v"), integer(-COUNT), integer(COUNT)),
        group(text("v"), integer(0), integer(-COUNT)),
        group(text("v"), TRUE, integer(COUNT)),
        group(text("v"), integer(COUNT)),
        view(COUNT)[:-1] + integer(1) + b"t",
        call("collections", "OrderedDict", several(group(text("v"), integer(1)))),
        EMPTY,
    ],
)
def test_a_view_that_is_spelled_otherwise_is_refused(described, put, vqcheck_value):
    with pytest.raises(CheckpointError, match="describes a view of a torch storage in a way that torch does not write"):
        vqcheck_value(put(legacy(weight(described), HELD)))


@pytest.mark.parametrize(("offset", "count"), [(COUNT + 1, COUNT), (0, 2 * COUNT + 1), (3 * COUNT, 0)])
def test_a_view_outside_its_storage_is_refused(offset, count, put, vqcheck_value):
    with pytest.raises(CheckpointError, match="describes view v outside its storage"):
        vqcheck_value(put(legacy(weight(view(offset, count)), HELD)))


def test_a_tensor_outside_its_view_is_refused_though_the_storage_is_longer(put, vqcheck_value):
    with pytest.raises(CheckpointError, match=f"{NAME}: claims bytes outside its storage"):
        vqcheck_value(put(legacy(weight(view(0, COUNT - 1)), HELD)))


@pytest.mark.parametrize("count", [COUNT - 1, COUNT + 1])
def test_a_storage_of_another_length_than_its_tensors_say_is_refused(count, put, vqcheck_value):
    state = legacy_state(tensor(legacy_storage("a", count)))
    with pytest.raises(CheckpointError, match=f"its storage claims {count} elements, (more|fewer) than are stored"):
        vqcheck_value(put(legacy(state)))


@pytest.mark.parametrize(
    "reference",
    [
        group(text("module"), text(NAME), text("f"), text("s")),
        group(text("module"), named("mine", "Net"), text("f")),
        group(text("other"), named("mine", "Net"), text("f"), text("s")),
    ],
)
def test_a_reference_that_is_no_storage_and_no_class_is_refused(reference, put, vqcheck_value):
    state = dictionary((text(NAME), tensor(legacy_storage("a"))), (reference + b"Q", tensor(legacy_storage("b"))))
    with pytest.raises(CheckpointError, match="refers to"):
        vqcheck_value(put(legacy(state)))
