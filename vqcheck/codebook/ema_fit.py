"""Checks codes against the running sums and counts that an EMA update derives them from.

With sums S `[heads, codes, dim]`, counts c `[heads, codes]`, their total N and K codes in a head, an update writes

    codes = S / smoothed(c),    smoothed(c) = (c + eps) / (N + K eps) N

for every row (van den Oord et al. 2017, appendix A.1, with Laplace smoothing).
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from vqcheck.codebook.values import Array, round_to

Mask = npt.NDArray[np.bool_]

ROUNDOFF: Final = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24}
"""Greatest relative error of rounding a normal number."""
SMALLEST_NORMAL: Final = {"float16": 2.0**-14, "bfloat16": 2.0**-126, "float32": 2.0**-126}

# Relative error of S / smoothed(c) against the codes, by the precision in which all three were rounded.
_TOLERANCE: Final = {"float16": 2e-3, "bfloat16": 1.6e-2, "float32": 1e-6}
_SMALLEST_HALF: Final = 2.0**-24
AT_ONCE: Final = 64
"""Codes that are looked at together: their numbers stay in a cache."""


def rows_off(codes: Array, sums: Array, counts: Array, epsilon: float) -> Mask:
    """Return which codes `[heads, codes]` are not their running sum over their smoothed count."""
    tolerance = _TOLERANCE[coarsest(codes, sums, counts)]
    off: Mask = np.zeros(codes.shape[:2], bool)
    with np.errstate(all="ignore"):
        count = smoothed(counts, epsilon)[..., None]
        for start in range(0, codes.shape[1], AT_ONCE):
            some = slice(start, start + AT_ONCE)
            off[:, some] = ~_fit(codes[:, some], sums[:, some], count[:, some], tolerance)
    return off


def _fit(codes: Array, sums: Array, count: npt.NDArray[np.float64], tolerance: float) -> Mask:
    expected = sums / count
    allowed = np.abs(expected)
    allowed *= tolerance
    allowed += 1e-30
    if tolerance > _TOLERANCE["float32"]:
        # Half-precision sums and counts are also off by up to the smallest step there is, which small counts magnify.
        allowed += _SMALLEST_HALF * (1 + (1 + np.abs(expected)) / np.maximum(count, 1e-30))
    fits: Mask = np.all(np.abs(codes - expected) <= allowed, axis=2)
    return fits


def smoothed(counts: Array, epsilon: float) -> npt.NDArray[np.float64]:
    """Return the counts `[heads, codes]` by which sums are divided."""
    wide = counts.astype(np.float64)
    total = wide.sum(axis=1, keepdims=True)
    divisor: npt.NDArray[np.float64] = (wide + epsilon) / (total + wide.shape[1] * epsilon) * total
    return divisor


def lengths(rows: Array) -> npt.NDArray[np.float64]:
    """Return the Euclidean length of each row, of an array whose last axis holds a row's values."""
    squares: npt.NDArray[np.float64] = np.einsum("...i,...i->...", rows, rows, dtype=np.float64)
    return np.sqrt(squares)


def are_unit_vectors(codes: Array) -> bool:
    """Say whether all codes `[heads, codes, dim]` have length 1: a cosine lookup keeps them so, whatever the sums."""
    return bool((np.abs(lengths(codes) - 1) < 1e-2).all())


def precision(*arrays: Array) -> str:
    """Return the narrowest type that holds every value, which is the precision they were last rounded to."""
    # Coarsest first: nearly every bfloat16 value is a float16 value too.
    for dtype in ("bfloat16", "float16"):
        # A sample settles nearly every case without rounding whole arrays.
        if all(np.array_equal(round_to(x, dtype), x, equal_nan=True) for a in arrays for x in (a.ravel()[:256], a)):
            return dtype
    return "float32"


def coarsest(codes: Array, sums: Array | None, counts: Array | None) -> str:
    """Return the coarsest type that one of the three was rounded to; whole counts fit into any and tell nothing."""
    telling = [array for array in (codes, sums) if array is not None]
    if counts is not None and (counts != np.rint(counts)).any():
        telling.append(counts)
    return max((precision(array) for array in telling), key=lambda dtype: ROUNDOFF[dtype])
