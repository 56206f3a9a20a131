r"""How far float32 and TF32 can move the difference of two distances: which tokens their rounding can explain.

With a recorded token r and the nearest code t, as in `half_bound`,

    D_r - D_t <= |(H_r - D_r) - (H_t - D_t)|,

where D is exact on the inputs as they are multiplied. Any order of n additions, fused or not, errs by at most
g(n) = n u / (1 - n u) times the sum of magnitudes, u = 2^-24 (Higham, Accuracy and Stability of Numerical Algorithms,
section 3.1). Tensor cores cut sums off instead of rounding them, and more than float32 does: u = 2^-22 for TF32. So:

- *x*, of n inputs and a bias: d_i <= g(n + 1) (sum |f W_i| + |b_i|), and where the lookup rounds x, its rounding too.
  It moves the difference by at most 2 sum_i d_i |t_i - r_i|; what it does to |x|^2 is the same for both.
- *P_j* = 2 x . e_j: g(dim) times its magnitudes. *E_j*: g(dim) |e_j|^2. *X - P_j* and *H_j*: u times themselves.

That is the certain bound. No processor comes near it, because rounding errors go either way: n independent ones exceed
8 sqrt(n) u with a probability below 1e-13 (Higham and Mary, A New Approach to Probabilistic Rounding Error Analysis).
With this for g(n), and the d_i of x added up as their root of squares, the same terms give the probable bound.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vqcheck.codebook.float_lookup import SURE, UNIT, FloatEncoder, Products, Tokens, Wide
from vqcheck.codebook.half import Array

_ENLARGED = 1 + 1 / 64
"""Magnitudes are taken of the exact terms, from which the rounded ones differ a little."""


@dataclass(frozen=True, eq=False)
class Excess:
    """By how much D_r - D_t exceeds a bound, `[frames]`; not above 0 where rounding can explain it."""

    certain: Wide
    probable: Wide


def float_excess(encoder: FloatEncoder, patches: Array, recorded: Tokens, nearest: Tokens) -> Excess:
    """Return by how much D_r - D_t exceeds either bound.

    Takes inputs `[frames, inputs]` and the recorded and the nearest token of each.
    """
    inputs, dim = encoder.weight.shape
    convolution, lookup = encoder.arithmetic.convolution, encoder.arithmetic.lookup
    taken = convolution.of(patches)
    x: Wide = taken.astype(np.float64) @ encoder.weight.astype(np.float64) + encoder.bias
    magnitude = (np.abs(taken) @ np.abs(encoder.weight) + np.abs(encoder.bias)).astype(np.float64)
    (r, r_factors), (t, t_factors) = (
        (encoder.codes[token].astype(np.float64), encoder.factors[token].astype(np.float64))
        for token in (recorded, nearest)
    )
    size, norm = np.abs(x), _dot(x, x)
    rounded, apart = lookup.error * size, np.abs(r_factors - t_factors)
    certain = 2 * _dot(_growth(inputs + 1, convolution) * magnitude + rounded, apart)
    moved = _probable(inputs + 1, convolution) * magnitude * apart
    probable = 2 * np.sqrt(_dot(moved, moved)) + 2 * _dot(rounded, apart)
    for code, factors in ((r, r_factors), (t, t_factors)):
        square, product = _dot(code, code), 2 * _dot(x, factors)
        summed = 2 * _dot(size, np.abs(factors)) + square
        rest = UNIT * (np.abs(norm - product) + np.abs(norm - product + square))
        certain = certain + _growth(dim, lookup) * summed + rest
        probable = probable + _probable(dim, lookup) * summed + rest
    gap: Wide = _dot(r - t, r + t) - 2 * _dot(x, r_factors - t_factors)
    return Excess(gap - _ENLARGED * certain, gap - _ENLARGED * probable)


def _unit(products: Products) -> float:
    return UNIT if products is Products.FLOAT32 else 4 * UNIT


def _growth(count: int, products: Products) -> float:
    return count * _unit(products) / (1 - count * _unit(products))


def _probable(count: int, products: Products) -> float:
    return SURE * math.sqrt(count) * _unit(products)


def _dot(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> Wide:
    product: Wide = np.einsum("ij,ij->i", a, b)
    return product
