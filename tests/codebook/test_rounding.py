"""Two tensors are roundings exactly where torch rounds the one, or one source, to them, value by value."""

import itertools
import warnings

import numpy as np
import pytest
import torch

from vqcheck.codebook.rounding import EIGHT_BITS, precision, relation

NARROW = ["float16", "bfloat16", *(dtype for dtype in EIGHT_BITS if hasattr(torch, dtype))]


@pytest.fixture(scope="module")
def source():
    """Values over many orders of magnitude within the range of every type, subnormal ones and both zeros included."""
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(64, 16, generator=generator) * torch.exp(3 * torch.randn(64, 16, generator=generator))
    values = values.clamp(-200, 200)
    values[0, :6] = torch.tensor([0.0, -0.0, 1e-9, -1e-9, 2.0**-25, 3 * 2.0**-25])
    return values


def rounded(values, dtype):
    return values.to(getattr(torch, dtype)).float().numpy()


@pytest.mark.parametrize("dtype", NARROW)
def test_what_torch_rounds_is_a_rounding(source, dtype):
    """Each type's cast is recognised in both directions, and named."""
    narrow = rounded(source, dtype)
    forth, back = relation(source.numpy(), narrow), relation(narrow, source.numpy())
    assert (forth.narrower, forth.dtypes, forth.wider_is_narrow) == ("B", (dtype,), False)
    assert (back.narrower, back.dtypes) == ("A", (dtype,))
    assert precision(narrow) in (dtype, *EIGHT_BITS)


@pytest.mark.parametrize("dtype", NARROW)
def test_one_value_outside_its_interval_is_no_rounding(source, dtype):
    """The neighbouring value of the narrow type, at one place, is a change."""
    narrow = rounded(source, dtype)
    grid = np.unique(np.abs(narrow))
    where = (9, 3)
    above = grid[np.searchsorted(grid, abs(narrow[where])) + 1]
    narrow[where] = np.copysign(above, narrow[where])
    assert relation(source.numpy(), narrow) is None


@pytest.mark.parametrize(("one", "other"), [*itertools.permutations(NARROW, 2)])
def test_two_casts_of_one_source_are_roundings_of_one_source(source, one, other):
    """Whatever the two types; but not with one value doubled."""
    a, b = rounded(source, one), rounded(source, other)
    assert relation(a, b) is not None
    b[9, 3] *= 4
    assert relation(a, b) is None


def test_ties_go_to_even():
    """A value half way between two halves belongs to the even one alone, as torch has it."""
    one, step = 1.0, 2.0**-10
    tie = torch.tensor([one + step / 2, one + 1.5 * step, 0.1])
    assert relation(tie.numpy(), tie.half().float().numpy()) is not None
    other = torch.tensor([one + step, one + step, 0.1]).half().float()
    assert relation(tie.numpy(), other.numpy()) is None


def test_a_double_that_is_no_single_is_rounded_to_it(source):
    """float32 counts as narrow where the source is float64."""
    wide = source.double() * (1 + 1e-12)
    found = relation(wide.numpy(), wide.float().numpy())
    assert (found.narrower, found.dtypes) == ("B", ("float32",))
    assert relation(wide.numpy(), (wide.float() * 1.01).numpy()) is None


def test_signs_of_zero_and_numbers_that_are_none():
    """A zero keeps its sign, NaN stays NaN, infinity stands for what is too large."""
    a = torch.tensor([-1e-9, float("nan"), 1e6, 0.3, -float("inf")])
    assert relation(a.numpy(), a.half().float().numpy()) is not None
    for place, value in ((0, 0.0), (1, 1.0), (2, float("nan")), (2, -float("inf"))):
        b = a.half().float()
        b[place] = value
        assert relation(a.numpy(), b.numpy()) is None


def test_equal_widths_are_no_roundings(source):
    """Two different float32, or two different float16 tensors, are neither's rounding."""
    moved = source.clone()
    moved[4, 4] = moved[4, 4] * 1.0001
    assert relation(source.numpy(), moved.numpy()) is None
    moved = source.half()
    moved[4, 4] = torch.nextafter(moved[4, 4], torch.tensor(1e4).half())
    assert relation(rounded(source, "float16"), moved.float().numpy()) is None


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2fnuz"])
def test_counts_may_saturate(dtype):
    """A count above the greatest 8-bit value stands at it where casts saturate; of codes that is no rounding."""
    counts = np.array([1.3, 90000.0, 17.0], np.float32)
    greatest = torch.finfo(getattr(torch, dtype)).max
    narrow = torch.tensor(counts).clamp(max=greatest).to(getattr(torch, dtype)).float().numpy()
    assert relation(counts, narrow, saturates=True) is not None
    assert relation(counts, narrow) is None


@pytest.mark.parametrize("bits", [0x7F800001, 0xFFBFFFFF, 0x7FC00000])
def test_of_any_kind_of_nan_nothing_is_said_on_stderr(bits):
    """A file may hold any bits; the cast of a signalling NaN warns."""
    values = np.array([bits, 0x3F800000], "<u4").view("<f4")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert precision(values) == "float8_e4m3fn"
