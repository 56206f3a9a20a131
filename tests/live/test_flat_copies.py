"""A guard compares everything in a handful of operators, and bit by bit: in any mix of dtypes, shapes and places."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import vqcheck
from vqcheck.errors import CodebookChanged
from vqcheck.live.flat_copies import FlatCopies

MOST_OPERATORS = 6


class Operators(TorchDispatchMode):
    """Keeps the names of the operators that ran."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


def mixed(model):
    model.ssl_proj.half()
    return model


CASTS = {"float32": lambda model: model, "float16": nn.Module.half, "bfloat16": nn.Module.bfloat16, "mixed": mixed}


@pytest.mark.parametrize("cast", CASTS.values(), ids=CASTS)
def test_a_call_between_two_looks_is_few_operators(small_model, cast):
    """However many tensors; and none of them hands a value to the host."""
    guard = vqcheck.guard(cast(small_model()), every=8)
    guard.step()
    with Operators() as operators:
        guard.step()
    assert 0 < len(operators.seen) <= MOST_OPERATORS
    assert not any("_local_scalar_dense" in name or "aten.equal" in name for name in operators.seen)


def test_a_codec_of_many_layers_takes_no_more(dac_like):
    """Sixteen layers of projections and codebooks: still one comparison."""
    model = dac_like()
    layers = model.quantizer.quantizers
    layers.extend(dac_like().quantizer.quantizers[0] for _ in range(15))
    guard = vqcheck.guard(model, every=8)
    guard.step()
    with Operators() as operators:
        guard.step()
    assert len(guard.names) > 40
    assert len(operators.seen) <= MOST_OPERATORS


SHAPES = {
    "one": ((), torch.float32),
    "below a block": ((1023,), torch.float32),
    "a block": ((4, 256), torch.float32),
    "above a block": ((1025,), torch.float32),
    "half": ((7, 3), torch.float16),
    "brain": ((2049,), torch.bfloat16),
    "wide": ((513,), torch.float64),
    "count": ((3,), torch.int64),
    "flag": ((5,), torch.bool),
    "nothing": ((0, 4), torch.float32),
}


def tensors(*left_out):
    draw = torch.Generator().manual_seed(0)
    return {
        name: (torch.randn(shape, generator=draw) * 10).to(dtype)
        for name, (shape, dtype) in SHAPES.items()
        if name not in left_out
    }


@pytest.mark.parametrize("left_out", [(), ("flag",), ("flag", "half", "brain")], ids=["bytes", "halves", "words"])
def test_one_bit_is_seen_in_its_own_tensor_and_in_no_other(left_out):
    """First and last element of each tensor, lowest bit, in the step in which it changed."""
    start = tensors(*left_out)
    for name, tensor in start.items():
        for element in {0, tensor.numel() - 1} if tensor.numel() else ():
            now = {each: value.clone() for each, value in start.items()}
            flat = FlatCopies(start, steps=0)
            flat.compare(now)
            flat.count()
            now[name].reshape(-1).view(torch.uint8)[element * tensor.element_size()] ^= 1
            flat.compare(now)
            flat.count()
            assert flat.read() == {name: 1}
    assert flat.copies.keys() == start.keys()
    for name, copy in flat.copies.items():
        assert (copy.dtype, copy.shape) == (start[name].dtype, start[name].shape)
        assert torch.equal(copy, start[name])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_payloads_of_nan_and_the_sign_of_zero_count(dtype):
    """Bits that compare as equal numbers, or as unequal to themselves, are told by their bits alone."""
    integer = torch.int32 if dtype == torch.float32 else torch.int16
    quiet = torch.tensor([torch.nan, 0.0], dtype=dtype)
    flat = FlatCopies({"codes": quiet}, steps=0)
    flat.compare({"codes": quiet.clone()})
    assert flat.read() == {}
    for element, bit in ((0, 1), (1, -(1 << (8 * quiet.element_size() - 1)))):
        flat = FlatCopies({"codes": quiet}, steps=3)
        now = quiet.clone()
        now.view(integer)[element] ^= bit
        flat.compare({"codes": now})
        assert flat.read() == {"codes": 3}


def rebind(holder):
    holder.codes = holder.codes.clone()


def exchange_data(holder):
    holder.codes.data = holder.codes.data.clone()


def set_memory(holder):
    holder.codes.set_(holder.codes.clone())


def transpose(holder):
    holder.codes = holder.codes.t().contiguous().t()


def resize_memory(holder):
    values, size = holder.codes.clone(), holder.codes.untyped_storage().nbytes()
    holder.codes.untyped_storage().resize_(0)
    holder.codes.untyped_storage().resize_(size)
    holder.codes.copy_(values)


@pytest.mark.parametrize("move", [rebind, exchange_data, set_memory, transpose, resize_memory])
def test_other_memory_is_followed(move):
    """The same bits elsewhere are no change, and what is written there afterwards is one."""
    holder = nn.Module()
    holder.register_buffer("codes", torch.randn(40, 50, generator=torch.Generator().manual_seed(0)))
    flat = FlatCopies({"codes": holder.codes}, steps=0)
    flat.compare({"codes": holder.codes})
    flat.count()
    move(holder)
    flat.compare({"codes": holder.codes})
    flat.count()
    assert flat.read() == {}
    holder.codes[39, 49] += 1
    flat.compare({"codes": holder.codes})
    assert flat.read() == {"codes": 2}


@pytest.mark.parametrize("cast", [CASTS["float16"], CASTS["bfloat16"], CASTS["mixed"]], ids=["half", "bfloat", "mixed"])
def test_a_guard_of_a_narrow_model_fires_and_stays_silent(small_model, book, cast):
    """One code moved by one unit in the last place, in a model of any precision."""
    model = cast(small_model())
    guard = vqcheck.guard(model, every=1)
    guard.step()
    embed = book(model).embed
    embed.view(torch.int16 if embed.element_size() == 2 else torch.int32)[15, 0] ^= 1
    with pytest.raises(CodebookChanged, match=r"_codebook\.embed: 1 of 16 rows.*first in step 2"):
        guard.check()


def test_a_conversion_of_the_whole_model_is_one_sentence(small_model):
    """double() is a change, and it is said what happened; a conversion of one tensor alone is listed as such."""
    model = small_model()
    guard = vqcheck.guard(model)
    guard.step()
    model.double()
    with pytest.raises(CodebookChanged, match="converted from float32 to float64 in step 2") as caught:
        guard.check()
    assert "\n" not in str(caught.value)
    guard = vqcheck.guard(model)
    model.ssl_proj.float()
    with pytest.raises(CodebookChanged, match=r"ssl_proj\.weight: is now float32, was float64"):
        guard.check()
