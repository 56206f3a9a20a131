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

from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from vqcheck.codebook.half_lookup import SAFE, UNIT, Array, HalfEncoder, Tokens, spacing

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


Flags = npt.NDArray[np.bool_]

_MARGIN = 1.02
"""For second-order terms and for magnitudes that rounding moves into the next binade."""


@dataclass(frozen=True, slots=True)
class _Shell:
    """Codes whose distances from the centre lie within a factor of two, so that one bound is not loose for any."""

    members: Tokens
    radius: float
    """Greatest distance from the centre"""
    squares: tuple[float, float]
    """Least and greatest |e|^2"""
    rounding: float
    """Greatest |h(e) - e|"""
    squares_rounding: float
    """Greatest |E - |e|^2|"""


class HalfReach:
    """Lengths in one codebook, which tell how far half precision can move a frame's distances to its codes.

    One code far from all others, as dead codes may be, must not loosen the bound of those that are near: codes are
    taken by their distance from the centre, the codes' median.
    """

    def __init__(self, codes: Array, squares: Array, in_half: HalfEncoder) -> None:
        self._squares = squares
        # Turned first: the median of what lies side by side is found three times as fast.
        centre = np.median(np.ascontiguousarray(codes.T), axis=1).astype(np.float32)
        self._from_centre = np.sqrt(_squares(codes - centre))
        self._rounding = np.sqrt(_squares(in_half.codes - codes))
        self._squares_rounding = np.abs(in_half.squares - squares)
        # A code whose square overflows is infinitely far in half precision, unless a product overflows, too.
        self._finite = np.isfinite(in_half.squares)
        self._longest = float(np.sqrt(_squares(in_half.codes).max()))
        self._first = _first_of_equals(codes)
        """Codes that no earlier code equals; None where all differ."""
        self._shells = [self._shell(members) for members in self._by_distance()]

    def _by_distance(self) -> list[Tokens]:
        inside = float(np.median(self._from_centre))
        binades = np.frexp(np.maximum(self._from_centre, inside))[1]
        shells = [np.flatnonzero((binades == binade) & self._finite) for binade in np.unique(binades)]
        return [members for members in shells if len(members)]

    def _shell(self, members: Tokens) -> _Shell:
        squares = self._squares[members]
        return _Shell(
            members,
            float(self._from_centre[members].max()),
            (float(squares.min()), float(squares.max())),
            float(self._rounding[members].max()),
            float(self._squares_rounding[members].max()),
        )

    def look(self, x: Array, half_frames: Array, distances: Array, tokens: Tokens) -> tuple[Tokens, Flags]:
        """Return how many different codes half precision may find the nearest, and where it may find another one.

        Takes frames `[frames, dim]` in float32 and in half precision, distances less |x|^2 `[frames, codes]` and the
        nearest codes `[frames]`.

        With d = h(x) - x known, and t the nearest code, half distances of a code j and of t differ from the exact
        ones by at most 2 |d| |e_j - e_t| + 2 |h(x)| (|h(e_j) - e_j| + |h(e_t) - e_t|) + |E_j - |e_j|^2| +
        |E_t - |e_t|^2|, and half a spacing for each rounding of each of the two: of P, X - P and H. At codes that are
        candidates, these terms are no larger than computed here; farther off, their roundings grow 500 times more
        slowly than the distances.

        Where terms may overflow, the answer is that another code may be found: |x|^2, 2 |x| |e| or the least distance.
        """
        norm, half_norm = _squares(x), np.sqrt(_squares(half_frames))
        moved = np.sqrt(_squares(half_frames - x))
        nearest = np.take_along_axis(distances, tokens[:, None], axis=1)[:, 0].astype(np.float32)
        distance_t = np.maximum(norm + nearest, 0)
        of_t = 2 * moved * self._from_centre[tokens] + 2 * half_norm * self._rounding[tokens]
        of_t = of_t + self._squares_rounding[tokens]
        terms = (self._squares[tokens] - nearest, np.maximum(distance_t, self._squares[tokens]), distance_t)
        of_t = of_t + sum(spacing(_MARGIN * (term + norm / 1024)) for term in terms) / 2
        inside = np.zeros(distances.shape, bool)
        for shell in self._shells:
            reach = of_t + 2 * moved * shell.radius + 2 * half_norm * shell.rounding + shell.squares_rounding
            least, greatest = shell.squares
            product = np.maximum(abs(greatest - nearest), abs(least - nearest)) + reach
            distance = distance_t + reach + norm / 1024
            difference = np.maximum(greatest, distance)
            reach = reach + sum(spacing(_MARGIN * term) for term in (product, difference, distance)) / 2
            limit = (nearest + _MARGIN * reach).astype(np.float32)[:, None]
            if len(self._shells) == 1 and len(shell.members) == len(self._squares):
                inside = distances <= limit
            else:
                inside[:, shell.members] = distances[:, shell.members] <= limit
        may_overflow = ~(
            (_MARGIN * half_norm**2 <= SAFE)
            & (2 * _MARGIN * half_norm * self._longest <= SAFE)
            & (_MARGIN * distance_t <= SAFE)
            & self._finite[tokens]
        )
        admitted: Tokens = np.count_nonzero(inside, axis=1)
        fragile = (admitted > 1) | may_overflow
        if self._first is not None:
            admitted = np.count_nonzero(inside & self._first, axis=1)
        return admitted, fragile


def _first_of_equals(codes: Array) -> Flags | None:
    seen: dict[bytes, int] = {}
    first = np.array([seen.setdefault(row.tobytes(), number) == number for number, row in enumerate(codes)])
    return None if first.all() else first


def _squares(rows: Array) -> Array:
    squares: Array = np.einsum("ij,ij->i", rows, rows)
    return squares
