r"""How far half precision can move the difference of two distances: which tokens rounding can explain.

Let x be the frame's projection and D_j = |x - e_j|^2, in exact arithmetic on the half-precision inputs that upstream
takes. With a recorded token r and the nearest code t, D_r >= D_t. Upstream chose r, so H_r <= H_t (see `half_lookup`
for H and its terms), and therefore

    D_r - D_t <= |(H_r - D_r) - (H_t - D_t)|.

The right side is bounded term by term; s(v) is the spacing of half values at v, so that rounding v errs by at most
s(v) / 2, and u = 2^-11.

- *x* is rounded twice, as c = W f and as c + b. The error d_i <= (s(c_i) + s(x_i)) / 2 moves the difference of two
  distances by 2 sum_i d_i (t_i - r_i), so by at most sum_i (s(c_i) + s(x_i)) |t_i - r_i|. What d does to |x|^2 is the
  same for both.
- *P_j*: s(P_j) / 2, and where a GPU adds up four partial sums in half precision, half the spacing of each of them
  and of each sum on the way.
- *X - P_j* and *H_j*: s(X - P_j) / 2 and s(H_j) / 2. X's own error is the same for both codes and cancels.
- *E_j*: its elements' squares are rounded, at most u |e_j|^2 together, and then their sum, s(E_j) / 2.

Float32 accumulation adds errors of its own, about sqrt(1536) 2^-24 of the sum of magnitudes, less than an eighth of
the rounding to half; the sum of all terms is multiplied by 9/8 for it. Spacings are taken at magnitudes enlarged by
1/64, since the rounded terms may lie in the next binade.

A recorded token within the bound is a *near-tie*. The bound is a worst case, several times what rounding really does,
so that alone it would swallow a codebook's drift: `experiment.token_audit` limits the number of near-ties, too.
"""

from itertools import accumulate

import numpy as np
import numpy.typing as npt

from vqcheck.codebook.half import UNIT, Array, spacing

Wide = npt.NDArray[np.float64]

_ACCUMULATION = 9 / 8
_ENLARGED = 1 + 1 / 64


def excess(sums: Array, bias: Array, recorded: Array, nearest: Array) -> Wide:
    """Return by how much D_r - D_t exceeds the half-precision bound, `[frames]`; not above 0 for a near-tie.

    Takes the convolution's sums c `[frames, dim]`, the bias `[dim]`, and the code vectors of the recorded and of the
    nearest token `[frames, dim]`, all of them half-precision inputs in float32. The nearest one's half distance must
    be finite. The recorded one's may overflow: a code whose distance is infinite is not chosen, so that a finite bound
    allows more than what happened.
    """
    x = sums + bias
    apart = np.abs(nearest - recorded)
    bound = np.einsum("ij,ij->i", spacing(_ENLARGED * sums) + spacing(_ENLARGED * x), apart)
    norm = _dot(x, x)
    for code in (recorded, nearest):
        square, product = _dot(code, code), 2 * _dot(x, code)
        parts = [2 * _dot(a, b) for a, b in zip(_quarters(x), _quarters(code), strict=True)]
        sums_of_parts = list(accumulate(parts))[1:]
        terms = (*parts, *sums_of_parts, norm - product, norm - product + square, square)
        bound = bound + UNIT * square + sum(spacing(_ENLARGED * term, largest=np.inf) for term in terms) / 2
    excess: Wide = gap(x, recorded, nearest) - _ACCUMULATION * bound
    return excess


def gap(x: Array, recorded: Array, nearest: Array) -> Wide:
    """Return D_r - D_t = sum_i (r_i - t_i) (r_i + t_i - 2 x_i), `[frames]`, without the cancellation of large terms."""
    difference: Wide = _dot(recorded - nearest, recorded + nearest - 2 * x)
    return difference


def _quarters(rows: Array) -> list[Array]:
    return np.array_split(rows, 4, axis=1)


def _dot(a: Array, b: Array) -> Wide:
    product: Wide = np.einsum("ij,ij->i", a, b, dtype=np.float64)
    return product
