"""Finds a codebook that was put together from several files: an average, rows of another file, or copies averaged.

An update writes codes = S / c, with S the running sum and c the smoothed count. In an average of two such files,
B = A + (X - A) / t, this no longer holds, for it is not linear. Since it holds for X,

    (e_A + t De)(c_A + t Dc) = S_A + t DS,   so   t = (DS - e_A Dc - c_A De) / (De Dc)

with D for B minus A: one and the same t in every value.
"""

from typing import Final

import numpy as np

from vqcheck.codebook.diagnosis.book import Book, CountedBook, numbers
from vqcheck.codebook.diagnosis.evidence import EmaUpdates, Merged, MergeKind
from vqcheck.codebook.diagnosis.replaced import replaced_after_update, replaced_with_bookkeeping
from vqcheck.codebook.diagnosis.result import Cause, Certainty
from vqcheck.codebook.ema_fit import Mask, smoothed

_MOST: Final = 0.1
"""Share of the codes that moved which show an average at least; rounding hides it in the others."""
_SECOND_ORDER: Final = 0.25
"""Share of its way by which a code in an average misses its bookkeeping at most."""
_AT_ONCE: Final = 2.0
"""Copies that are averaged after every step are apart by one step, so by this many times (1 - decay) of the whole."""


def average(book: CountedBook) -> Cause | None:
    """Return an average of A with another file, or of several files.

    Codes that an average leaves miss their bookkeeping by little: by the square of how far the files are apart. Codes
    edited at random miss it by as much as they moved.
    """
    shown = book.moved & book.shifted & ~replaced_with_bookkeeping(book) & ~replaced_after_update(book)
    off = book.clearly_off & shown
    if not off.any():
        return None
    many = off.sum() >= _MOST * book.shifted.sum()
    weight = _weight(book, shown if book.narrow else off) if many or book.narrow else None
    if weight is None and not (many and missed_by_little(book, off)):
        return None
    step = min(_AT_ONCE * (1 - (book.family.decay or 1.0)), 0.05)
    at_once = weight is None and not book.narrow and _missed(book, off) <= step
    how = MergeKind.RANKS if at_once else MergeKind.AVERAGE
    return book.cause(Certainty.LIKELY, Merged(how, weight, numbers(off)))


def rows(book: Book, others: Cause | None) -> Cause | None:
    """Return rows taken from another file, given what their unhit codes tell by themselves; the rest stands still."""
    if others is None or not isinstance(others.evidence, EmaUpdates) or not others.evidence.unhit:
        return None
    return book.cause(Certainty.LIKELY, Merged(MergeKind.ROWS, None, numbers(~book.untouched)))


def _weight(book: CountedBook, rows: Mask) -> float | None:
    """Return the share of the other file in an average with A, on which the codes agree; None where they do not."""
    if book.off_a[rows].mean() > 0.1 * book.narrow:
        return None
    epsilon = book.family.epsilon
    counts_a, counts_b = smoothed(book.a.counts, epsilon)[rows], smoothed(book.b.counts, epsilon)[rows]
    codes_a, codes_b, sums_a, sums_b = (
        array[rows].astype(np.float64) for array in (book.a.codes, book.b.codes, book.a.sums, book.b.sums)
    )
    moved, counted = codes_b - codes_a, (counts_b - counts_a)[:, None]
    left = sums_b - sums_a - codes_a * counted - counts_a[:, None] * moved
    right = moved * counted
    # What roundings leave in `left`, at most in float32 and on the average else; a row below that tells nothing.
    reach = np.abs(sums_b) + np.abs(codes_a) * counts_b[:, None]
    noise = (1.5 if book.narrow else 4) * book.roundoff * np.linalg.norm(reach, axis=1)
    size = np.einsum("ij,ij->i", right, right)
    clear = np.sqrt(size) > (3 if book.narrow else 5) * noise
    if np.count_nonzero(clear) < 3:
        return None
    left, right, size, noise = left[clear], right[clear], size[clear], noise[clear]
    factor = np.einsum("ij,ij->i", left, right) / size
    t = float(np.median(factor))
    least = 0.05 if book.narrow else 1e-3
    if (counts_a + t * counted[:, 0])[clear].min() < least * counts_a[clear].min():
        # No other file has such counts: these are rows that somebody scaled.
        return None
    agree = np.abs(factor - t) <= 0.1 * abs(t) + 2 * noise / np.sqrt(size) * book.narrow
    residual = np.linalg.norm(left - t * right, axis=1) <= 0.3 * abs(t) * np.sqrt(size) + 2 * noise * book.narrow
    if not t > 1.02 or (agree & residual).mean() < 0.8:
        return None
    return 1 / t


def missed_by_little(book: Book, off: Mask) -> bool:
    """Say whether codes miss their sums and counts by no more of their way than averaging leaves."""
    return _missed(book, off) <= _SECOND_ORDER


def _missed(book: Book, off: Mask) -> float:
    """Return by how much codes miss what their sums and counts say, as a share of how far they moved."""
    return float(np.median(book.missed[off] / book.way[off]))
