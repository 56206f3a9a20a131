"""Finds out whether a codebook was filled anew by k-means, whose counts are whole numbers of frames."""

import numpy as np

from vqcheck.codebook.diagnosis.book import Book
from vqcheck.codebook.diagnosis.evidence import Initialised
from vqcheck.codebook.diagnosis.result import LIKELY, Cause
from vqcheck.codebook.ema_fit import ROUNDOFF

_ENOUGH = 8
"""Whole counts that are no accident."""


def find(book: Book) -> Cause | None:
    """Return a k-means initialisation that no update has followed yet; an update makes counts fractional."""
    sums, counts = book.b.sums, book.b.counts
    if sums is None or counts is None or not book.bookkeeping_changed:
        return None
    # Where rounding steps are wide, a whole number says nothing.
    telling = counts[(counts > 0) & (counts * 2 * ROUNDOFF[book.b.precision] <= 1 / 8)]
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
    return Cause(LIKELY, Initialised("k-means", int(counts.sum())), book.number, book.head)
