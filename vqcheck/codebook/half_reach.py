"""Which codes half precision may find the nearest to a frame, told from float32 distances without emulating it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vqcheck.codebook.half import Array, spacing
from vqcheck.codebook.half_lookup import SAFE, HalfEncoder, Tokens

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
        self._from_centre = np.sqrt(_squares(codes - np.median(codes, axis=0).astype(np.float32)))
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
