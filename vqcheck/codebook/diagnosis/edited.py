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
        return Cause(LIKELY, Edited("bookkeeping untouched", numbers(book.moved)), book.number)
    if CODES not in book.changed:
        return Cause(LIKELY, Edited("bookkeeping only", ()), book.number)
    off = against_bookkeeping(book)
    return Cause(LIKELY, Edited("codes off bookkeeping", numbers(off)), book.number) if off.any() else None


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
