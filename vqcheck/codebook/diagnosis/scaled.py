"""Finds a codebook whose values were all multiplied by one number, which no update does."""

from typing import Final

import numpy as np

from vqcheck.codebook.diagnosis.book import Book
from vqcheck.codebook.diagnosis.evidence import Scaled
from vqcheck.codebook.diagnosis.result import LIKELY, Cause
from vqcheck.codebook.ema_fit import Array

_FIRST: Final = 4096


def find(book: Book) -> Cause | None:
    """Return by what codes, sums and counts were multiplied, where each has one factor and not all have 1."""
    found: list[float | None] = []
    pairs = ((book.a.codes, book.b.codes), (book.a.sums, book.b.sums), (book.a.counts, book.b.counts))
    tolerance = 4 * (book.a.roundoff + book.b.roundoff)
    for a, b in pairs:
        if a is None or b is None or np.array_equal(a, b):
            found.append(None)
            continue
        factor = _factor(a, b, tolerance)
        if factor is None:
            return None
        found.append(factor)
    if all(factor is None for factor in found):
        return None
    return Cause(LIKELY, Scaled(*found), book.number, book.head)


def _factor(a: Array, b: Array, tolerance: float) -> float | None:
    """Return the number by which all of b is a multiple of a, or None where there is none but 1."""
    a, b = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    # A few values settle nearly every case. Their own factor is off by no more than each of them may be.
    first, other = a[:_FIRST], b[:_FIRST]
    own = float(first @ other) / (float(first @ first) or 1.0)
    # Below the smallest normal number of float16 rounding is absolute; there nothing can be told either way.
    floor = 2.0**-23 if tolerance > 1e-4 else 1e-37
    if not (np.abs(other - own * first) <= 3 * (tolerance * np.abs(other) + floor)).all():
        return None
    size = float(a @ a)
    if not (size and np.isfinite(size) and np.isfinite(b).all()):
        return None
    factor = float(a @ b) / size
    if abs(factor - 1) <= 4 * tolerance or not factor:
        return None
    fits = np.abs(b - factor * a) <= tolerance * np.abs(factor * a) + floor
    return factor if bool(fits.all()) else None
