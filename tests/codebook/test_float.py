"""Float32 and TF32: products as a GPU takes them, and bounds that no order of summation leaves."""

import numpy as np
import pytest
import torch

from vqcheck.codebook.float_lookup import FLOAT_ARITHMETICS, FloatArithmetic, FloatEncoder, Products, float_excess

INPUTS, DIM, CODES, FRAMES = 48, 32, 64, 200


def arrays(seed, apart=1.0):
    """Return weight, bias, codes and inputs; codes are as far from each other as `apart` says."""
    draw = np.random.default_rng(seed)
    made = (
        draw.standard_normal((INPUTS, DIM)) / np.sqrt(INPUTS),
        0.1 * draw.standard_normal(DIM),
        draw.standard_normal(DIM) + apart * draw.standard_normal((CODES, DIM)),
        draw.standard_normal((FRAMES, INPUTS)),
    )
    return tuple(array.astype(np.float32) for array in made)


def test_tf32_keeps_ten_bits():
    """Rounded to the nearest, or cut off, of exact rational arithmetic; half values stay as they are."""
    values = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    ulp = np.exp2(np.floor(np.log2(np.abs(values.astype(np.float64)))) - 10)
    rounded, cut = (kind.of(values).astype(np.float64) for kind in (Products.TF32, Products.TF32_CUT))
    assert (np.abs(rounded - values) <= ulp / 2).all()
    assert (rounded == np.round(values / ulp) * ulp).all()
    assert (cut == np.trunc(values / ulp) * ulp).all()
    halves = values.astype(np.float16).astype(np.float32)
    for kind in Products:
        assert (kind.of(halves) == halves).all()
        assert (np.abs(kind.of(values) - values) <= kind.error * np.abs(values)).all()


@pytest.mark.parametrize("apart", [1.0, 1e-3, 1e-5])
def test_settled_tokens_are_those_of_exact_arithmetic(apart):
    """However near the codes are, the reference is the nearest one of torch's float64."""
    weight, bias, codes, inputs = arrays(1, apart)
    encoder = FloatEncoder(weight, bias, codes, FloatArithmetic())
    tokens, _ = encoder.settle(inputs, encoder.look_up(inputs))
    w, b, e, f = (torch.from_numpy(array).double() for array in (weight, bias, codes, inputs))
    assert (tokens == torch.cdist(f @ w + b, e, compute_mode="donot_use_mm_for_euclid_dist").argmin(1).numpy()).all()


def test_frames_that_another_order_changes_are_counted():
    """Some where codes are nearly equal, none where they are far apart."""
    for apart, some in ((1.0, False), (1e-6, True)):
        weight, bias, codes, inputs = arrays(2, apart)
        encoder = FloatEncoder(weight, bias, codes, FloatArithmetic())
        assert (encoder.settle(inputs, encoder.look_up(inputs))[1] > 0) is some


def summed(a, b, order, cuts):
    """Return float32 products `[n, m]` of a `[n, k]` and b `[k, m]`, one after the other; or cut off as in TF32."""
    total = np.zeros((len(a), b.shape[1]), np.float32)
    for at in order:
        total = total + (a[:, at, None] * b[at]).astype(np.float32)
        if cuts:
            total = (total.view(np.uint32) & np.uint32(0xFFFFFFFE)).view(np.float32)
    return total


@pytest.mark.parametrize("arithmetic", FLOAT_ARITHMETICS, ids=str)
@pytest.mark.parametrize("apart", [1.0, 1e-2, 1e-6])
def test_no_order_of_summation_leaves_a_bound(arithmetic, apart):
    """Whatever code float32 sums prefer to the nearest one, both bounds cover it."""
    weight, bias, codes, inputs = arrays(3, apart)
    encoder = FloatEncoder(weight, bias, codes, arithmetic)
    nearest, _ = encoder.settle(inputs, encoder.look_up(inputs))
    draw = np.random.default_rng(4)
    off = 0
    for order in (np.arange(INPUTS), np.arange(INPUTS)[::-1], draw.permutation(INPUTS)):
        cuts = arithmetic.convolution is not Products.FLOAT32
        taken = arithmetic.convolution.of(inputs)
        x = summed(taken, arithmetic.convolution.of(weight), order, cuts) + bias
        looked, factors = arithmetic.lookup.of(2 * x), arithmetic.lookup.of(codes)
        inner = order[order < DIM]
        products = summed(looked, factors.T, inner, arithmetic.lookup is not Products.FLOAT32)
        norms = (x * x).sum(axis=1, keepdims=True)
        chosen = ((norms - products) + (codes * codes).sum(axis=1)).argmin(1)
        found = float_excess(encoder, inputs, chosen, nearest)
        off += (chosen != nearest).sum()
        assert (found.certain <= 0).all()
        assert (found.probable <= 0).all()
    assert off > 0 or apart > 1e-4


def test_the_bounds_are_no_blank_cheque():
    """A code that is plainly farther lies outside both, and the probable bound is the narrower one."""
    weight, bias, codes, inputs = arrays(5)
    for arithmetic in FLOAT_ARITHMETICS:
        encoder = FloatEncoder(weight, bias, codes, arithmetic)
        nearest, _ = encoder.settle(inputs, encoder.look_up(inputs))
        found = float_excess(encoder, inputs, (nearest + 1) % CODES, nearest)
        assert (found.certain > 0).mean() > 0.95
        assert (found.probable >= found.certain).all()
