"""Says whether one tensor is another one rounded, or both can be roundings of one source, value by value.

A value of a narrow type stands for an interval: all numbers that are rounded to it, to nearest and ties to even. A
rounding of one source is what lies in one interval with it, whatever wrote it, and in whatever it is stored now.
"""

from collections.abc import Iterable
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from vqcheck.codebook.float_bytes import widen
from vqcheck.codebook.values import Array
from vqcheck.language import tr
from vqcheck.quick_dataclass import quick_dataclass

Bits = npt.NDArray[np.bool_]

EIGHT_BITS: Final = ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")
"""float8_e8m0fnu is none of them: it holds powers of two without a sign, which no codebook is rounded to."""
NARROW: Final = ("float16", "bfloat16", *EIGHT_BITS)
_OF_STORED: Final = {
    "float32": frozenset({"float32"}),
    "float16": frozenset({"float32", "float16"}),
    "bfloat16": frozenset({"float32", "bfloat16"}),
    **{dtype: frozenset({"float32", *NARROW}) for dtype in (*EIGHT_BITS, "float8_e8m0fnu")},
}
"""What a tensor was rounded to by being stored: the type itself, and those that hold all of its values."""
_FIRST: Final = 4096
"""Values looked at before all are."""


@quick_dataclass(frozen=True, slots=True)
class Rounded:
    """How two tensors of one shape are one another's rounding."""

    narrower: str
    """`A`, `B`, or empty where neither type holds all values of the other."""
    dtypes: tuple[str, ...]
    """The type that was rounded to; two, A's first, where neither is the other's rounding, but both have one source."""
    wider_is_narrow: bool
    """The wider of the two is itself rounded to at most 16 bits, so that both may be roundings of one source."""

    @property
    def sentence(self) -> str:
        """What was found, in a few words."""
        if len(self.dtypes) > 1:
            a, b = self.dtypes
            return tr("A is {type_a} and B {type_b}, to which one source can be rounded", type_a=a, type_b=b)
        wide = "A" if self.narrower == "B" else "B"
        return tr("{narrow} is {wide} rounded to {dtype}", narrow=self.narrower, wide=wide, dtype=self.dtypes[0])


def types_of_file(tensors: Iterable[tuple[str, Array]]) -> frozenset[str]:
    """Return the types to which a whole file was rounded, given the (stored type, values) of all its tensors.

    Values of one tensor prove no rounding: zeros, ones and small whole numbers fit every type.
    """
    kept = [(stored, values) for stored, values in tensors if values.size]
    return frozenset(
        dtype
        for dtype in ("float32", *NARROW)
        if all(
            dtype in _OF_STORED.get(stored, ()) or (_holds(dtype, values.ravel()[:_FIRST]) and _holds(dtype, values))
            for stored, values in kept
        )
    )


def relation(
    a: Array, b: Array, types: tuple[frozenset[str], frozenset[str]] | None = None, *, saturates: bool = False
) -> Rounded | None:
    """Return how `a` and `b` are roundings, or None where they are not: then the values differ.

    `types` are those to which A and B may have been rounded, by what they are stored in and by the rest of their files;
    every one where it is not given. With `saturates` the greatest 8-bit value also stands for everything above it: what
    a cast does to counts.
    """
    fits_a, fits_b = _fits(a), _fits(b)
    if types is not None:
        pairs = zip((fits_a, fits_b), types, strict=True)
        fits_a, fits_b = ([dtype for dtype in fits if dtype in of] for fits, of in pairs)
    for narrower, wide, narrow, wide_fits, narrow_fits in (("B", a, b, fits_a, fits_b), ("A", b, a, fits_b, fits_a)):
        for dtype in narrow_fits:
            if dtype not in wide_fits and _stands_for(narrow, dtype, wide, saturates=saturates):
                return Rounded(narrower, (dtype,), any(each in NARROW for each in wide_fits))
    for dtype_a in fits_a:
        for dtype_b in fits_b:
            if "float32" in (dtype_a, dtype_b) or (dtype_a in fits_b and dtype_b in fits_a):
                continue
            if _share_a_source(a, dtype_a, b, dtype_b, saturates=saturates):
                narrower = "B" if dtype_a in fits_b else "A" if dtype_b in fits_a else ""
                return Rounded(narrower, (dtype_a, dtype_b), wider_is_narrow=True)
    return None


def types_by_storage(stored: str) -> frozenset[str]:
    """Return the types to which a tensor was rounded by being stored in one."""
    return _OF_STORED.get(stored, frozenset())


def precision(values: Array) -> str:
    """Return the narrowest type that holds every value: what the tensor was last rounded to."""
    fits = _fits(values)
    return next((dtype for dtype in (*EIGHT_BITS, "bfloat16", "float16") if dtype in fits), str(values.dtype))


def _fits(values: Array) -> list[str]:
    """Return the types that hold every value, widest first."""
    found = ["float32"] if values.dtype == np.float32 or _holds("float32", values) else []
    found += [dtype for dtype in NARROW if _holds(dtype, values.ravel()[:_FIRST]) and _holds(dtype, values)]
    return found


def _holds(dtype: str, values: Array) -> bool:
    # A file may hold any bits, and the cast of a signalling NaN warns.
    with np.errstate(all="ignore"):
        if dtype == "float32":
            return bool((np.isnan(values) | (values.astype(np.float32).astype(np.float64) == values)).all())
        magnitude = np.abs(values.astype(np.float64))
    grid = _grid(dtype)
    nearest = grid[np.searchsorted(grid, magnitude).clip(max=len(grid) - 1)]
    special = np.isnan(values) | (np.isinf(values) if dtype in _WITH_INFINITY else False)
    return bool((special | (nearest == magnitude)).all())


_WITH_INFINITY: Final = frozenset({"float16", "bfloat16", "float8_e5m2"})


@cache
def _grid(dtype: str) -> npt.NDArray[np.float64]:
    """Return the finite values of a type from 0 up. The last bit of a value's mantissa is that of its index."""
    if dtype == "float16":
        values = np.arange(0x7C00, dtype="<u2").view("<f2").astype(np.float64)
    elif dtype == "bfloat16":
        values = (np.arange(0x7F80, dtype="<u4") << 16).view("<f4").astype(np.float64)
    else:
        values = np.frombuffer(widen(bytes(range(128)), dtype), "<f4").astype(np.float64)
        values = values[np.isfinite(values)]
    return values


@quick_dataclass(frozen=True, slots=True)
class _Intervals:
    """The magnitudes that are rounded to each value, `[low, high]`, with or without the ends; NaN stands for any."""

    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    closed: Bits
    negative: Bits
    either_sign: Bits
    """Zeros of a type that has but one."""
    nan: Bits


def _intervals(values: Array, dtype: str, *, saturates: bool) -> _Intervals:
    grid = _grid(dtype)
    middles = (grid[1:] + grid[:-1]) / 2
    overflow = grid[-1] + (grid[-1] - grid[-2]) / 2
    below, above = np.concatenate([[0.0], middles]), np.concatenate([middles, [overflow]])
    if saturates and dtype in EIGHT_BITS:
        above[-1] = np.inf
    magnitude = np.abs(values.astype(np.float64))
    index = np.searchsorted(grid, magnitude).clip(max=len(grid) - 1)
    low, high, closed = below[index], above[index], index % 2 == 0
    infinite, nan = np.isinf(values), np.isnan(values)
    low = np.where(infinite, overflow, low)
    high = np.where(infinite, np.inf, high)
    closed |= infinite
    if dtype not in _WITH_INFINITY:
        # What is too large becomes NaN there, so a NaN stands for that, too.
        low, high = np.where(nan, grid[-1], low), np.where(nan, np.inf, high)
        closed |= nan
        nan = np.zeros_like(nan)
    either = (magnitude == 0) if dtype.endswith("uz") else np.zeros_like(nan)
    if dtype not in _WITH_INFINITY:
        either = either | np.isnan(values)
    return _Intervals(low, high, closed, np.signbit(values), either, nan)


def _stands_for(narrow: Array, dtype: str, wide: Array, *, saturates: bool) -> bool:
    """Say whether each of `wide` is rounded to the value of `narrow` at its place."""
    with np.errstate(all="ignore"):
        if dtype == "float32":
            same = (wide.astype(np.float32) == narrow.astype(np.float32)) & (np.signbit(wide) == np.signbit(narrow))
            return bool((same | (np.isnan(wide) & np.isnan(narrow))).all())
        of = _intervals(narrow, dtype, saturates=saturates)
        magnitude = np.abs(wide.astype(np.float64))
        inside = (of.low < magnitude) & (magnitude < of.high)
        inside |= of.closed & ((of.low == magnitude) | (of.high == magnitude))
        # Nothing lies below zero: its interval begins there whether its ends belong to it or not.
        inside |= (of.low == 0) & (magnitude == 0)
        signs = of.either_sign | (of.negative == np.signbit(wide))
        not_numbers = np.isnan(wide) & np.isnan(narrow)
        return bool((not_numbers | (inside & signs & ~of.nan & ~np.isnan(wide))).all())


def _share_a_source(a: Array, dtype_a: str, b: Array, dtype_b: str, *, saturates: bool) -> bool:
    """Say whether one number can have been rounded to both values, at each place."""
    with np.errstate(all="ignore"):
        of_a, of_b = _intervals(a, dtype_a, saturates=saturates), _intervals(b, dtype_b, saturates=saturates)
        low, high = np.maximum(of_a.low, of_b.low), np.minimum(of_a.high, of_b.high)
        at_both = (of_a.closed | (of_a.low < low)) & (of_b.closed | (of_b.low < low))
        at_both &= (of_a.closed | (of_a.high > high)) & (of_b.closed | (of_b.high > high))
        meet = (low < high) | ((low == high) & (at_both | (low == 0)))
        signs = of_a.either_sign | of_b.either_sign | (of_a.negative == of_b.negative)
        nan = np.isnan(a) & np.isnan(b)
        return bool((nan | (meet & signs & ~of_a.nan & ~of_b.nan)).all())
