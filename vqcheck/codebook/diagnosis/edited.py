"""Finds codes that no update of the family leaves behind: edited, or merged from several files."""

from typing import Final

import numpy as np

from vqcheck.codebook.diagnosis.book import Book, CountedBook, numbers, once_a_book
from vqcheck.codebook.diagnosis.evidence import Edited, EditTrace, Scaled
from vqcheck.codebook.diagnosis.replaced import replaced_after_update, replaced_with_bookkeeping
from vqcheck.codebook.diagnosis.result import Cause, Certainty
from vqcheck.codebook.ema_fit import Mask
from vqcheck.codebook.family import Role
from vqcheck.codebook.values import Array

_FIRST: Final = 4096
_OWN_WAY: Final = 0.7
"""Share of its way by which an edited code misses its bookkeeping at least."""


def find(book: Book) -> Cause | None:
    """Return which codes moved against their bookkeeping; an update writes both."""
    if not isinstance(book, CountedBook):
        return None
    if not book.bookkeeping_changed:
        return _cause(book, EditTrace.BOOKKEEPING_UNTOUCHED, numbers(book.moved))
    if Role.CODES not in book.changed:
        return _cause(book, EditTrace.BOOKKEEPING_ONLY, ())
    off = against_bookkeeping(book)
    return _cause(book, EditTrace.CODES_OFF_BOOKKEEPING, numbers(off)) if off.any() else None


def single_rows(book: Book) -> Cause | None:
    """Return the few codes that changed while all others stand as they were, to the last bit."""
    if not 0 < (~book.untouched).sum() <= book.untouched.sum():
        return None
    return _cause(book, EditTrace.SINGLE_ROWS, numbers(~book.untouched))


def without_counts(book: CountedBook) -> Cause | None:
    """Return codes that changed although counts did not; an update decays every count."""
    touched = ~book.untouched
    return None if book.counts_moved.any() else _cause(book, EditTrace.COUNTS_UNTOUCHED, numbers(touched))


def _cause(book: Book, how: EditTrace, codes: tuple[int, ...]) -> Cause:
    return book.cause(Certainty.LIKELY, Edited(how, codes))


@once_a_book
def against_bookkeeping(book: Book) -> Mask:
    """Return which codes `[heads, codes]` moved and do not follow from their sums and counts.

    Replaced dead codes do not count, and none do where A's codes do not follow either: the file was then made by
    another rule than the family's.
    """
    nothing = np.zeros(book.b.codes.shape[:2], bool)
    if not isinstance(book, CountedBook) or (book.off_a & ~_dead_a(book)).mean() > 0.5:
        return nothing
    off = book.clearly_off & book.moved & ~replaced_after_update(book) & ~replaced_with_bookkeeping(book)
    # Rounding hides whether averaging explains what is off by less than the way that the code went.
    return off & (book.missed >= _OWN_WAY * book.way) if book.narrow else off


def _dead_a(book: Book) -> Mask:
    threshold = book.family.dead_code_threshold
    if threshold is None or book.a.counts is None:
        return np.zeros(book.a.codes.shape[:2], bool)
    dead: Mask = book.a.counts < threshold * (1 + 2 * book.a.roundoff)
    return dead


def scaled(book: Book) -> Cause | None:
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
    return book.cause(Certainty.LIKELY, Scaled(*found))


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
