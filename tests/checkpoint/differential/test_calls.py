"""Whatever may be a tensor and is no record of one is refused; so is every call whose result nobody here can know."""

import io
import struct

import pytest
import torch
from differential.crafted import (
    NAME,
    SHAPE,
    TENSOR_A,
    TENSOR_B,
    A,
    B,
    archive,
    arguments,
    index,
    state_dict,
    storage,
)
from fuzz.differential.opcodes import (
    EMPTY,
    FALSE,
    NONE,
    built,
    call,
    dictionary,
    group,
    integer,
    integers,
    named,
    new,
    number,
    pairs,
    several,
    text,
)

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.errors import CheckpointError

ROWS = several(*(several(number(float(row)), number(2.0)) for row in range(SHAPE[0])))
DECOY = [(text("module." + NAME), TENSOR_A)]


def stored_whole():
    buffer = io.BytesIO()
    torch.save(torch.full(SHAPE, 5.0), buffer, _use_new_zipfile_serialization=False)
    return b"B" + struct.pack("<I", len(buffer.getvalue())) + buffer.getvalue()


NO_RECORD = {
    "FloatTensor of numbers": (call("torch", "FloatTensor", ROWS), False),
    "Tensor of numbers": (call("torch", "Tensor", ROWS), False),
    "torch.tensor": (call("torch", "tensor", ROWS), True),
    "Parameter": (call("torch.nn.parameter", "Parameter", TENSOR_B, FALSE), False),
    "Parameter made anew": (new("torch.nn.parameter", "Parameter", TENSOR_B, FALSE), False),
    "Tensor that is set": (
        built(new("torch", "Tensor"), group(storage("b"), integer(0), integers(SHAPE), integers((2, 1)))),
        False,
    ),
    "tensor of another device": (
        call(
            "torch._utils",
            "_rebuild_device_tensor_from_cpu_tensor",
            TENSOR_B,
            named("torch", "float32"),
            text("cpu"),
            FALSE,
        ),
        False,
    ),
    "copy": (call("copy", "copy", TENSOR_B), True),
    "partial that is called": (
        call("functools", "partial", named("torch._utils", "_rebuild_tensor_v2"), *arguments(storage("b"))) + b")R",
        True,
    ),
    "file in the file": (call("torch.storage", "_load_from_bytes", stored_whole()), True),
    "another name of a rebuild function": (
        call("torch._tensor", "torch._utils._rebuild_tensor_v2", *arguments(storage("b"))),
        None,
    ),
}


@pytest.mark.parametrize("way", NO_RECORD)
def test_a_tensor_that_is_no_record_is_refused_even_where_another_could_be_judged(way, put, torch_value, vqcheck_value):
    value, full = NO_RECORD[way]
    path = put(archive(index(dictionary(*DECOY, (text(NAME), value)))))
    if full is not None:
        assert torch_value(path, full=full) not in (None, A)
    with pytest.raises(CheckpointError):
        vqcheck_value(path)


MAYBE = {
    "an array": call("numpy.core.multiarray", "_reconstruct", named("numpy", "ndarray"), group(integer(0)), text("b")),
    "an object of an unknown class": new("mine", "Codes"),
    "a name": named("mine", "codes"),
    "an attribute": call("builtins", "getattr", named("collections", "OrderedDict"), text("fromkeys")),
}


@pytest.mark.parametrize("what", MAYBE)
def test_what_may_be_a_tensor_is_refused_among_tensors_and_read_elsewhere(what, put, vqcheck_value):
    with pytest.raises(CheckpointError, match=r"weight: holds extra, which is .* and may be a tensor; save it again"):
        vqcheck_value(put(archive(index(state_dict(TENSOR_A, (text("extra"), MAYBE[what]))))))
    assert vqcheck_value(put(archive(index(None, (text("extra"), MAYBE[what]))))) == A


@pytest.mark.parametrize(
    "value",
    [
        named("torch", "float16"),
        integer(3),
        NONE,
        several(TENSOR_B),
        text("x"),
        call("pathlib", "PurePosixPath", text("a")),
        built(new("argparse", "Namespace"), dictionary((text("rate"), integer(3)))),
        dictionary((text("a"), new("mine", "Codes"))),
    ],
)
def test_what_is_no_tensor_may_lie_among_tensors(value, put, vqcheck_value):
    assert vqcheck_value(put(archive(index(state_dict(TENSOR_A, (text("beside"), value)))))) == A


HANDED = {
    "as an argument": new("mine", "Settings", TENSOR_B),
    "as a keyword": named("mine", "Settings") + b")" + dictionary((text("t"), TENSOR_B)) + b"\x92",
    "as its state": built(new("mine", "Settings"), dictionary((text("t"), TENSOR_B))),
    "deep in its state": built(new("mine", "Settings"), dictionary((text("t"), several(group(TENSOR_B))))),
    "as a slot": built(new("mine", "Settings"), group(NONE, dictionary((text("t"), TENSOR_B)))),
    "as an item": new("mine", "Settings") + pairs([(text("t"), TENSOR_B)]),
    "as an element": new("mine", "Settings") + b"(" + TENSOR_B + b"e",
    "as a key": built(new("mine", "Settings"), dictionary((TENSOR_B, integer(1)))),
    "in a namespace": new("mine", "Settings", built(new("argparse", "Namespace"), dictionary((text("t"), TENSOR_B)))),
    "in an array of objects": built(
        call("numpy.core.multiarray", "_reconstruct", named("numpy", "ndarray"), group(integer(0)), text("b")),
        group(integer(1), integers((1,)), named("numpy", "dtype"), FALSE, several(TENSOR_B)),
    ),
    "as a storage": new("mine", "Settings", storage("b")),
}


@pytest.mark.parametrize("way", HANDED)
@pytest.mark.parametrize("kept", [True, False])
def test_an_unknown_object_that_is_handed_a_tensor_is_refused(way, kept, put, vqcheck_value):
    extra = HANDED[way] if kept else HANDED[way] + b"0" + NONE
    with pytest.raises(CheckpointError, match=r"hands a tensor to (mine\.Settings|numpy\.core\S*), .*; save it"):
        vqcheck_value(put(archive(index(None, (text("extra"), extra)))))


def test_a_dictionary_that_is_handed_over_empty_and_filled_later_counts_as_filled(put, vqcheck_value):
    owner = new("mine", "Settings", b"}q\xfa")
    filled = b"h\xfa" + text(NAME) + TENSOR_A + b"s"
    with pytest.raises(CheckpointError, match=r"hands a tensor to mine\.Settings"):
        vqcheck_value(put(archive(index(None, (text("owner"), owner), (text("model"), filled)))))


SHARED = {
    "a class": named("mine", "Settings"),
    "a module": named("torch", "nn"),
    "an attribute": call("builtins", "getattr", named("collections", "OrderedDict"), text("fromkeys")),
    "a list": several(),
    "a time": call("datetime", "timedelta", integer(1)),
}


@pytest.mark.parametrize("what", SHARED)
def test_a_state_that_may_change_what_the_program_shares_is_refused(what, put, vqcheck_value):
    value = built(SHARED[what], group(NONE, dictionary((text("load"), named("mine", "load")))))
    with pytest.raises(CheckpointError, match=r"gives a state to .*, which may be shared"):
        vqcheck_value(put(archive(index(None, (text("extra"), value)))))


@pytest.mark.parametrize(
    "value",
    [
        call("mine", "function", integer(1)),
        call("torch", "load", text("a.pth")),
        call("mine", "Mode", text("train")),
        b"(" + integer(1) + b"imine\nfunction\n",
        b"(" + named("mine", "function") + integer(1) + b"o",
        call("builtins", "getattr", named("torch", "nn"), text("Linear")) + b")R",
        call("collections", "Counter", several(text(NAME))),
        call("collections", "defaultdict", call("functools", "partial", named("builtins", "list"))),
        new("builtins", "map", named("builtins", "exec"), several(text("1"))),
    ],
)
def test_a_call_whose_result_cannot_be_known_is_refused_with_what_to_do(value, put, vqcheck_value):
    with pytest.raises(CheckpointError, match=r"the pickle (calls|makes) .*; save it again as a plain state dict"):
        vqcheck_value(put(archive(index(None, (text("extra"), value)))))


def test_an_unknown_class_without_tensors_is_named_as_what_runs_code(put):
    settings = built(new("utils", "HParams"), dictionary((text("rate"), integer(3))))
    known = call("pathlib", "PurePosixPath", text("a"))
    with open_checkpoint(put(archive(index(None, (text("config"), settings), (text("path"), known))))) as checkpoint:
        assert checkpoint.classes == ("utils.HParams",)
    with open_checkpoint(put(archive(index()))) as checkpoint:
        assert checkpoint.classes == ()


def test_the_other_tensor_is_really_another():
    assert A != B
    assert EMPTY not in TENSOR_A[:20]
