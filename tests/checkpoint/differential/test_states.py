"""A state that a tensor is given can replace its data or write to another's: torch does so, so vqcheck refuses."""

import pytest
import torch
from differential.crafted import (
    SHAPE,
    TENSOR_A,
    TENSOR_B,
    A,
    archive,
    arguments,
    index,
    legacy,
    legacy_state,
    legacy_storage,
    state_dict,
    storage,
    tensor,
)
from fuzz.differential.opcodes import (
    EMPTY,
    FALSE,
    NONE,
    TRUE,
    built,
    call,
    dictionary,
    group,
    integer,
    integers,
    named,
    number,
    several,
    text,
)

from vqcheck.checkpoint.torch_rebuild import _OWN_ATTRIBUTES

DATA = dictionary((text("data"), TENSOR_B))
PARAMETER = call("torch._utils", "_rebuild_parameter", TENSOR_A, FALSE, EMPTY)
SET = group(storage("b"), integer(0), integers(SHAPE), integers((2, 1)))
VARIABLE = group(TENSOR_B, NONE, EMPTY, FALSE, EMPTY)


def with_state(state, value=TENSOR_A):
    return call("torch._utils", "_rebuild_parameter_with_state", value, FALSE, EMPTY, state)


def from_type(state, kind="Parameter", module="torch.nn.parameter"):
    function = named("torch._utils", "_rebuild_tensor_v2")
    return call(
        "torch._tensor", "_rebuild_from_type_v2", function, named(module, kind), group(*arguments(storage("a"))), state
    )


REBOUND = {
    "parameter's state": with_state(DATA),
    "parameter's state of slots": with_state(group(NONE, DATA)),
    "state of a parameter in a parameter": with_state(DATA, PARAMETER),
    "parameter's number": with_state(dictionary((text("real"), number(7.0)))),
    "from_type of a parameter": from_type(DATA),
    "from_type of a tensor": from_type(DATA, "Tensor", "torch"),
    "from_type with slots": from_type(group(NONE, DATA)),
    "BUILD of a tensor": built(TENSOR_A, SET),
    "BUILD of a parameter, four parts": built(PARAMETER, SET),
    "BUILD of a parameter, five parts": built(PARAMETER, VARIABLE),
}


@pytest.mark.parametrize("way", REBOUND)
def test_a_state_that_replaces_the_codebook_is_refused(way, refused):
    refused(archive(index(state_dict(REBOUND[way]))), A, "gives a tensor (a state|the attribute)")


@pytest.mark.parametrize("value", [TENSOR_B, number(7.0)], ids=["tensor", "number"])
@pytest.mark.parametrize("beside", [True, False])
def test_a_state_that_writes_into_the_codebook_from_elsewhere_is_refused(beside, value, refused):
    alias = with_state(dictionary((text("real"), value)))
    weight = state_dict(TENSOR_A, (text("alias"), alias)) if beside else state_dict()
    refused(archive(index(weight, (text("info"), alias))), A, "gives a tensor the attribute real")


@pytest.mark.parametrize(
    "state",
    [
        NONE,
        b"}",
        group(NONE, NONE),
        group(b"}", NONE),
        dictionary((text("note"), text("mine")), (text("partition_dim"), integer(0))),
        dictionary((text("_is_buffer"), TRUE), (text("persistent"), TRUE)),
        dictionary((text("_optim"), dictionary((text("lr"), number(1e-4)), (text("betas"), several(number(0.9)))))),
    ],
)
def test_a_state_that_cannot_touch_the_values_is_read(state, agreed):
    agreed(archive(index(state_dict(with_state(state)))), A)
    agreed(archive(index(state_dict(from_type(state)))), A)


@pytest.mark.parametrize("zipped", [True, False])
def test_what_a_module_holds_is_read_with_the_marks_of_torch_on_it(zipped, saved, put, read_all, torch_bytes):
    """`torch.nn.Buffer` marks its tensors, and they are saved so where they are not detached."""
    module = torch.nn.Module()
    module.codes, module.bias = torch.nn.Buffer(torch.randn(4, 2)), torch.nn.Parameter(torch.randn(2))
    state = module.state_dict(keep_vars=True)
    path = put(saved({"weight": state}, _use_new_zipfile_serialization=zipped))
    assert {name: found[2] for name, found in read_all(path).items()} == {n: torch_bytes(t) for n, t in state.items()}


def test_a_legacy_file_is_no_way_around(refused):
    value = tensor(legacy_storage("a"))
    data = dictionary((text("data"), tensor(legacy_storage("b"))))
    refused(legacy(legacy_state(with_state(data, value))), A, "gives a tensor the attribute data")
    parts = group(legacy_storage("b"), integer(0), integers(SHAPE), integers((2, 1)))
    refused(legacy(legacy_state(built(value, parts))), A, "gives a tensor a state")


@pytest.mark.parametrize(
    "marks",
    [
        dictionary((text("neg"), TRUE)),
        dictionary((text("neg"), FALSE)),
        dictionary((text("neg"), integer(1))),
        call("collections", "Counter", dictionary((text("neg"), TRUE))),
        call("collections", "OrderedDict", several(group(text("neg"), TRUE))),
        dictionary((call("_codecs", "encode", text("neg"), text("latin1")), TRUE)),
    ],
)
def test_signs_to_be_flipped_are_refused_however_that_is_said(marks, refused):
    refused(archive(index(state_dict(tensor(storage("a"), marks)))), A, "signs to be flipped")


def test_signs_under_a_calculated_name_are_refused(refused):
    marks = dictionary((call("_codecs", "encode", text("art"), text("rot13")), TRUE))
    refused(archive(index(state_dict(tensor(storage("a"), marks)))), A, "calls _codecs.encode with arguments")


def test_what_plain_torch_save_can_write_is_refused_too(saved, refused):
    class Rebuilt:
        def __reduce__(self):
            state = {"data": torch.full(SHAPE, -1.0)}
            return torch._utils._rebuild_parameter_with_state, (torch.ones(SHAPE), False, {}, state)

    seems = torch.ones(SHAPE).numpy().tobytes()
    data = saved({"weight": {"q.embed": Rebuilt()}})
    refused(data, seems, "gives a tensor the attribute data")


def test_every_attribute_that_torch_defines_on_its_tensors_is_known():
    """Those that begin with an underscore are refused as such."""
    defined = {
        name: vars(kind)[name] for kind in torch.nn.Parameter.__mro__[:-1] for name in vars(kind) if name[:1] != "_"
    }
    with_setter = {name for name, value in defined.items() if hasattr(type(value), "__set__")}
    assert with_setter <= _OWN_ATTRIBUTES
    assert {"data", "real", "imag", "grad"} <= with_setter
