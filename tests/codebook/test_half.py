"""Half precision emulated on float32 arrays, against numpy's own type and torch's arithmetic."""

import numpy as np
import pytest
import torch

from vqcheck.codebook.half_bound import excess, gap
from vqcheck.codebook.half_lookup import ARITHMETICS, HalfEncoder, half, is_half, spacing

EVERY_HALF = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
FINITE = np.sort(EVERY_HALF[np.isfinite(EVERY_HALF)])


def numpy_half(values):
    with np.errstate(over="ignore"):
        return values.astype(np.float16).astype(np.float32)


@pytest.mark.parametrize(
    "values",
    [
        EVERY_HALF,
        (FINITE[:-1] + FINITE[1:]) / 2,
        np.nextafter((FINITE[:-1] + FINITE[1:]) / 2, np.float32(np.inf)),
        np.nextafter((FINITE[:-1] + FINITE[1:]) / 2, np.float32(-np.inf)),
        np.float32([65519.99, 65520, -65520, 1e30, -np.inf, np.nan, 0.0, -0.0, 1e-45, -3e-8]),
    ],
    ids=["every half value", "every tie", "above every tie", "below every tie", "edges"],
)
def test_rounding_is_numpy_rounding(values):
    """Every half value, every point half way between two, and its neighbours are rounded as float16 rounds them."""
    expected, found = numpy_half(values), half(values)
    assert (np.isnan(found) == np.isnan(expected)).all()
    finite = ~np.isnan(expected)
    assert (found[finite].view(np.uint32) == expected[finite].view(np.uint32)).all()


def test_spacing_is_the_distance_to_the_next_value():
    """From every positive half value to the next one."""
    positive = np.unique(np.abs(FINITE))
    assert (spacing(positive[:-1]) == np.diff(positive.astype(np.float64))).all()
    assert spacing(np.float32([70000, np.inf, np.nan])).tolist() == [np.inf] * 3


def test_is_half_notices_one_value_that_is_not():
    """Half values pass, a single one with another digit does not."""
    values = FINITE.copy()
    assert is_half(values)
    values[7] += np.float32(0.01)
    assert not is_half(values)


def encoder(seed, size=1.0, inputs=48, dim=32, codes=64, offset=0.0):
    """Return weight, bias, codes and inputs, all of them half values."""
    draw = np.random.default_rng(seed)
    scale = np.sqrt(size / dim)
    centre = offset * scale * draw.standard_normal(dim)
    arrays = (
        draw.standard_normal((inputs, dim)) / np.sqrt(inputs),
        centre + 0.1 * scale * draw.standard_normal(dim),
        centre + scale * draw.standard_normal((codes, dim)),
        scale * draw.standard_normal((300, inputs)),
    )
    return tuple(half(array) for array in arrays)


@pytest.mark.parametrize("size", [100, 1000, 7000])
def test_the_emulation_is_torch_half_but_for_few_roundings(size):
    """Torch's half arithmetic on a CPU, step by step as upstream writes it, gives the same distances nearly always."""
    weight, bias, codes, inputs = encoder(0, size)
    arithmetic = ARITHMETICS[0]
    mine = HalfEncoder(weight, bias, codes)
    frames = mine.frames(inputs, arithmetic)
    found = mine.look_up(frames, arithmetic).distances
    w, b, e, f = (torch.from_numpy(array).half() for array in (weight, bias, codes.T, inputs))
    x = f @ w + b
    distances = x.pow(2).sum(1, keepdim=True) - 2 * x @ e + e.pow(2).sum(0, keepdim=True)
    assert (frames != x.float().numpy()).mean() < 0.01
    same = (frames == x.float().numpy()).all(axis=1)
    assert same.mean() > 0.5
    assert (found[same] != distances.float().numpy()[same]).mean() < 0.01


@pytest.mark.parametrize("size", [100, 1000, 7000, 30000])
@pytest.mark.parametrize("arithmetic", ARITHMETICS, ids=str)
def test_no_arithmetic_leaves_the_bound(size, arithmetic):
    """Whatever code half precision prefers to the nearest one, the bound covers it, also for codes far from 0."""
    for seed, offset in enumerate([0.0, 2.0, 5.0]):
        weight, bias, codes, inputs = encoder(seed, size / (1 + offset**2), offset=offset)
        mine = HalfEncoder(weight, bias, codes)
        for variant in (arithmetic, *arithmetic.variants):
            lookup = mine.look_up(mine.frames(inputs, variant), variant)
            sums = (inputs.astype(np.float64) @ weight).astype(np.float32)
            exact = ((sums + bias)[:, None].astype(np.float64) - codes) ** 2
            nearest, chosen = exact.sum(2).argmin(1), lookup.last_tokens
            usable = ~lookup.overflows
            assert (excess(sums, bias, codes[chosen], codes[nearest])[usable] <= 0).all()


def test_the_bound_is_no_blank_cheque():
    """Of random codes hardly one lies inside the bound."""
    weight, bias, codes, inputs = encoder(3, 1000)
    sums = inputs @ weight
    nearest = ((sums + bias)[:, None] - codes).__pow__(2).sum(2).argmin(1)
    others = (nearest + 1) % len(codes)
    assert (gap(sums + bias, codes[others], codes[nearest]) > 0).all()
    assert (excess(sums, bias, codes[others], codes[nearest]) > 0).mean() > 0.9


def test_overflow_makes_a_lookup_useless():
    """Norms beyond 65504 are told apart from those below; the token there is the first code, as torch.max gives it."""
    weight, bias, codes, inputs = encoder(1, 1000)
    mine = HalfEncoder(weight, bias, codes)
    hot = half(inputs * 30)
    quiet, loud = (mine.look_up(mine.frames(f, ARITHMETICS[0]), ARITHMETICS[0]) for f in (inputs, hot))
    assert not quiet.overflows.any()
    infinite = np.isinf(loud.norms[:, 0])
    assert infinite.any()
    assert loud.overflows[infinite].all()
    distances = -torch.from_numpy(loud.distances)
    assert (loud.tokens == distances.max(dim=-1).indices.numpy()).all()
