"""Finds codes that no update of the family leaves behind: edited, or merged from several files."""

import numpy as np

from vqcheck.codebook.diagnosis.book import Book, numbers
from vqcheck.codebook.diagnosis.dead_codes import replaced_after_update, replaced_with_bookkeeping
from vqcheck.codebook.diagnosis.evidence import Edited
from vqcheck.codebook.diagnosis.result import LIKELY, Cause
from vqcheck.codebook.ema_fit import Mask
from vqcheck.codebook.family import CODES


def find(book: Book) -> Cause | None:
    """Return which codes moved against their bookkeeping; an update writes both."""
    if not book.bookkeeping_stored:
        return None
    if not book.bookkeeping_changed:
        return _cause(book, "bookkeeping untouched", numbers(book.moved))
    if CODES not in book.changed:
        return _cause(book, "bookkeeping only", ())
    off = against_bookkeeping(book)
    return _cause(book, "codes off bookkeeping", numbers(off)) if off.any() else None


def single_rows(book: Book) -> Cause | None:
    """Return the few codes that changed while all others stand as they were, to the last bit."""
    if not 0 < (~book.untouched).sum() <= book.untouched.sum():
        return None
    return _cause(book, "single rows", numbers(~book.untouched))


def without_counts(book: Book) -> Cause | None:
    """Return codes that changed although counts did not; an update decays every count."""
    touched = ~book.untouched
    return None if book.counts_moved.any() else _cause(book, "counts untouched", numbers(touched))


def _cause(book: Book, how: str, codes: tuple[int, ...]) -> Cause:
    return Cause(LIKELY, Edited(how, codes), book.number, book.head)


def against_bookkeeping(book: Book) -> Mask:
    """Return which codes `[heads, codes]` moved and do not follow from their sums and counts.

    Replaced dead codes do not count, and none do where A's codes do not follow either: the file was then made by
    another rule than the family's.
    """
    nothing = np.zeros(book.b.codes.shape[:2], bool)
    if not book.bookkeeping_stored or (book.off_a & ~_dead_a(book)).mean() > 0.5:
        return nothing
    return book.off_b & book.moved & ~replaced_after_update(book) & ~replaced_with_bookkeeping(book)


def _dead_a(book: Book) -> Mask:
    threshold = book.family.dead_code_threshold
    if threshold is None or book.a.counts is None:
        return np.zeros(book.a.codes.shape[:2], bool)
    dead: Mask = book.a.counts < threshold * (1 + 2 * book.a.roundoff)
    return dead
