r"""How far float32 and TF32 can move the difference of two distances: which tokens their rounding can explain.

With a recorded token r and the nearest code t, as in `half_bound`,

    D_r - D_t <= |(H_r - D_r) - (H_t - D_t)|,

where D is exact on the inputs as they are multiplied. Any order of n additions, fused or not, errs by at most
g(n) = n u / (1 - n u) times the sum of magnitudes, u = 2^-24 (Higham, Accuracy and Stability of Numerical Algorithms,
section 3.1). Tensor cores cut sums off instead of rounding them, and more than float32 does: u = 2^-22 for TF32. So:

- *x*, of n inputs and a bias: d_i <= g(n + 1) (sum |f W_i| + |b_i|), and where the lookup rounds x, its rounding too.
  It moves the difference by at most 2 sum_i d_i |t_i - r_i|; what it does to |x|^2 is the same for both.
- *P_j* = 2 x . e_j: g(dim) times its magnitudes. *E_j*: g(dim) |e_j|^2. *X - P_j* and *H_j*: u times themselves.
"""

import numpy as np
import numpy.typing as npt

from vqcheck.codebook.float_lookup import UNIT, FloatEncoder, Products, Tokens, Wide
from vqcheck.codebook.half import Array

_ENLARGED = 1 + 1 / 64
"""Magnitudes are taken of the exact terms, from which the rounded ones differ a little."""


def float_excess(encoder: FloatEncoder, patches: Array, recorded: Tokens, nearest: Tokens) -> Wide:
    """Return by how much D_r - D_t exceeds the bound, `[frames]`; not above 0 for a near-tie.

    Takes inputs `[frames, inputs]` and the recorded and the nearest token of each.
    """
    arithmetic = encoder.arithmetic
    inputs, dim = encoder.weight.shape
    taken = arithmetic.convolution.of(patches).astype(np.float64)
    weight, bias = encoder.weight.astype(np.float64), encoder.bias.astype(np.float64)
    x: Wide = taken @ weight + bias
    magnitude = np.abs(taken) @ np.abs(weight) + np.abs(bias)
    moved = _growth(inputs + 1, arithmetic.convolution) * magnitude
    moved = moved + arithmetic.lookup.error * (np.abs(x) + moved)
    (r, r_factors), (t, t_factors) = (
        (encoder.codes[token].astype(np.float64), encoder.factors[token].astype(np.float64))
        for token in (recorded, nearest)
    )
    bound = 2 * _dot(moved, np.abs(r_factors - t_factors))
    norm, growth = _dot(x, x), _growth(dim, arithmetic.lookup)
    for code, factors in ((r, r_factors), (t, t_factors)):
        square, product = _dot(code, code), 2 * _dot(x, factors)
        bound = bound + growth * (2 * _dot(np.abs(x) + moved, np.abs(factors)) + square)
        bound = bound + UNIT * (np.abs(norm - product) + np.abs(norm - product + square))
    apart: Wide = _dot(r - t, r + t) - 2 * _dot(x, r_factors - t_factors)
    return apart - _ENLARGED * bound


def _growth(count: int, products: Products) -> float:
    unit = UNIT if products is Products.FLOAT32 else 4 * UNIT
    return count * unit / (1 - count * unit)


def _dot(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> Wide:
    product: Wide = np.einsum("ij,ij->i", a, b)
    return product
