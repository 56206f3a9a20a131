"""Finds codes that were overwritten with random frames because they were rarely used.

Only update orders that leave a trace can be told: GPT-SoVITS since November 2025 replaces *after* the update, so
exactly the codes with a count below the threshold are not their sum over their smoothed count. vector-quantize-pytorch
sets sum and count as well: sum = count x code to the last bit, without smoothing, at one and the same count. Encodec
and GPT-SoVITS until then replace *before* the update, which overwrites the replacement: nothing is left to find.
"""

import numpy as np

from vqcheck.codebook.diagnosis.book import Book, CountedBook, CountedState, numbers, once_a_book
from vqcheck.codebook.diagnosis.evidence import DeadCodes, Initialised
from vqcheck.codebook.diagnosis.result import Cause, Certainty
from vqcheck.codebook.ema_fit import Mask

_NEARLY_ALL = 0.9
_ENOUGH = 8
"""Whole counts that are no accident."""
_NEAR = 0.05
"""Distance to what the bookkeeping says, relative to the codebook's spread, below which no random frame was put in."""


def dead_codes(book: Book) -> Cause | None:
    """Return the replaced codes, if a trace of them is left."""
    if not (isinstance(book, CountedBook) and book.bookkeeping_changed):
        return None
    after = replaced_after_update(book)
    if after.any():
        certain = not book.b.narrow and np.array_equal(after, book.dead & book.moved)
        evidence = DeadCodes(numbers(after), book.family.dead_code_threshold, bookkeeping_reset=False)
        return book.cause(Certainty.CERTAIN if certain else Certainty.LIKELY, evidence)
    reset = replaced_with_bookkeeping(book)
    if reset.any():
        threshold = float(book.b.counts[reset][0])
        evidence = DeadCodes(numbers(reset), threshold, bookkeeping_reset=True)
        return book.cause(Certainty.LIKELY if book.b.narrow else Certainty.CERTAIN, evidence)
    return None


@once_a_book
def replaced_after_update(book: Book) -> Mask:
    """Return which codes `[heads, codes]` are off their bookkeeping and below the family's threshold."""
    off = book.off_b & book.dead & book.moved & ~replaced_with_bookkeeping(book)
    if off.any() and isinstance(book.b, CountedState):
        off &= _far_off(book.b)
    # Every update replaces all codes that it finds dead; averaging leaves some of them off.
    return off if off.sum() >= _NEARLY_ALL * (book.dead & book.moved).sum() else np.zeros_like(off)


def _far_off(state: CountedState) -> Mask:
    """Return which codes are as far from what their bookkeeping says as another frame is; averaging moves them less."""
    codes = state.codes.astype(np.float64)
    with np.errstate(all="ignore"):
        expected = state.sums / state.counts[..., None].astype(np.float64)
        spread = np.linalg.norm(codes - codes.mean(axis=1, keepdims=True), axis=2).mean(axis=1, keepdims=True)
        near: Mask = np.linalg.norm(codes - expected, axis=2) <= _NEAR * spread
    return ~near


@once_a_book
def replaced_with_bookkeeping(book: Book) -> Mask:
    """Return which codes `[heads, codes]` were set together with their sum and count."""
    nothing = np.zeros(book.b.codes.shape[:2], bool)
    if not (isinstance(book, CountedBook) and book.bookkeeping_changed):
        return nothing
    # The first channel settles nearly every case.
    if not (book.b.sums[..., 0] == book.b.codes[..., 0] * book.b.counts).any():
        return nothing
    exact = (book.b.sums == book.b.codes * book.b.counts[..., None]).all(axis=2) & (book.b.counts > 0)
    rewritten = exact & book.moved & (book.a.sums != book.b.sums).any(axis=2)
    if not rewritten.any():
        return nothing
    counts, times = np.unique(book.b.counts[rewritten], return_counts=True)
    count = counts[np.argmax(times)]
    threshold = book.family.dead_code_threshold
    at_count: Mask = rewritten & (book.b.counts == count)
    # One code that agrees may agree by luck where smoothing does not show: a rounded one, or one of average count.
    by_luck = int(times.max()) < 2 and (book.b.narrow or not (at_count & book.off_b).any())
    if by_luck or (threshold is not None and count != np.float32(threshold)):
        return nothing
    return at_count


def by_k_means(book: Book) -> Cause | None:
    """Return a k-means initialisation that no update has followed yet; an update makes counts fractional."""
    if not (isinstance(book.b, CountedState) and book.bookkeeping_changed):
        return None
    sums, counts = book.b.sums, book.b.counts
    # Where rounding steps are wide, a whole number says nothing.
    telling = counts[(counts > 0) & (counts * 2 * book.b.roundoff <= 1 / 8)]
    if len(telling) < _ENOUGH or not (telling == np.rint(telling)).all():
        return None
    by_hits = np.unique(telling).size > 1
    codes = book.b.codes.astype(np.float64)
    tolerance = 4 * book.b.roundoff
    # Encodec stores the centres themselves as sums, GPT-SoVITS their product with the counts, and
    # vector-quantize-pytorch derives the codes from that product as an update does.
    fits = not book.off_b.any() or any(
        np.allclose(sums, expected, rtol=tolerance, atol=1e-6) for expected in (codes, codes * counts[..., None])
    )
    if not (by_hits and fits):
        return None
    return book.cause(Certainty.LIKELY, Initialised("k-means", int(counts.sum())))
