"""Measures how far two tensors of one shape are apart, in rows and in values."""

from typing import Final

import numpy as np
import numpy.typing as npt

from vqcheck.codebook.comparison import Change


def measure(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating], row_axes: int) -> Change:
    """Return the change from `a` to `b`, two arrays of one shape whose first `row_axes` axes count rows.

    Values count as changed when their bits differ, so that -0.0 differs from 0.0 and a NaN from another NaN.
    """
    rows, width = (int(np.prod(axes)) for axes in (a.shape[:row_axes], a.shape[row_axes:]))
    flat_a, flat_b = a.reshape(rows, width), b.reshape(rows, width)
    changed = not_finite = 0
    greatest = {"abs": _Greatest(), "rel": _Greatest()}
    # Some rows at a time, whose numbers stay in a cache.
    step = max(1, _AT_ONCE // max(1, width))
    for start in range(0, rows, step):
        some_a, some_b = flat_a[start : start + step], flat_b[start : start + step]
        differs, finite = _differs(some_a, some_b), np.isfinite(some_a) & np.isfinite(some_b)
        with np.errstate(all="ignore"):
            distance = np.subtract(some_b, some_a, dtype=np.float64)
            np.abs(distance, out=distance)
            distance[~finite] = 0.0
            relative = np.divide(
                distance, np.abs(some_a, dtype=np.float64), out=np.zeros_like(distance), where=finite & (some_a != 0)
            )
            np.minimum(relative, np.finfo(np.float64).max, out=relative)
        changed += int(np.count_nonzero(differs.any(axis=1)))
        not_finite += int(np.count_nonzero(differs & ~finite))
        for values, known in zip((distance, relative), greatest.values(), strict=True):
            known.look(values, start * width)
    return Change(
        rows_changed=changed,
        rows=rows,
        max_abs=greatest["abs"].value,
        max_abs_index=greatest["abs"].index(a.shape),
        max_rel=greatest["rel"].value,
        max_rel_index=greatest["rel"].index(a.shape),
        not_finite=not_finite,
    )


class _Greatest:
    """The first of the greatest values seen, and its place."""

    def __init__(self) -> None:
        self.value = 0.0
        self._place: int | None = None

    def look(self, values: npt.NDArray[np.float64], start: int) -> None:
        """Look at the next values, which begin at place `start`."""
        if not values.size:
            return
        at = int(np.argmax(values))
        if self._place is None or values.flat[at] > self.value:
            self.value, self._place = float(values.flat[at]), start + at

    def index(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the place in an array of this shape; nothing where it has no values."""
        return () if self._place is None else tuple(int(i) for i in np.unravel_index(self._place, shape))


def ulps_apart(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating], dtype: str, most: int) -> int | None:
    """Return by how many units in the last place of `dtype` two arrays differ at most; None where by more than `most`.

    None, too, where that means nothing: in types in which one update may move no more than the last places. The unit is
    that of the larger of the two values.
    """
    # A few values settle nearly every case.
    first = _ulps_apart(a.ravel()[:_FIRST], b.ravel()[:_FIRST], dtype)
    found = first if first is None or first > most else _ulps_apart(a, b, dtype)
    return None if found is None or found > most else found


def _ulps_apart(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating], dtype: str) -> int | None:
    step = _LAST_PLACE.get(dtype)
    if step is None or not a.size or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return None
    larger = np.maximum(np.abs(a), np.abs(b)).astype(np.float64)
    unit = np.ldexp(step, np.frexp(np.maximum(larger, _SMALLEST_NORMAL[dtype]))[1] - 1)
    apart = np.abs(a.astype(np.float64) - b.astype(np.float64)) / unit
    return int(np.ceil(apart.max())) if apart.max() < np.iinfo(np.int32).max else None


_FIRST: Final = 4096
_AT_ONCE: Final = 1 << 16
_LAST_PLACE: Final = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10}
_SMALLEST_NORMAL: Final = {"float64": 2.0**-1022, "float32": 2.0**-126, "float16": 2.0**-14}


def same_bits(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> bool:
    """Say whether two arrays of one shape hold the same values, NaN payloads and signs of zero included."""
    return not _differs(a, b).any()


def _differs(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
    dtype = np.promote_types(a.dtype, b.dtype)
    bits = np.uint64 if dtype.itemsize == 8 else np.uint32
    # A scalar view needs at least one axis.
    bits_a, bits_b = (np.ascontiguousarray(x, dtype).reshape(x.shape or (1,)).view(bits) for x in (a, b))
    differs: npt.NDArray[np.bool_] = np.not_equal(bits_a, bits_b).reshape(a.shape)
    return differs
