"""Finds a codebook that was put together from several files: an average, rows of another file, or copies averaged.

An update writes codes = S / c, with S the running sum and c the smoothed count. In an average of two such files,
B = A + (X - A) / t, this no longer holds, for it is not linear. Since it holds for X,

    (e_A + t De)(c_A + t Dc) = S_A + t DS,   so   t = (DS - e_A Dc - c_A De) / (De Dc)

with D for B minus A: one and the same t in every value.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from vqcheck.codebook.diagnosis.book import Book, State, numbers
from vqcheck.codebook.diagnosis.evidence import EmaUpdates, Merged, MergeKind
from vqcheck.codebook.diagnosis.replaced import replaced_with_bookkeeping
from vqcheck.codebook.diagnosis.result import Cause, Certainty
from vqcheck.codebook.ema_fit import Mask

_MOST: Final = 0.1
"""Share of the codes that moved which show an average at least; rounding hides it in the others."""
_SECOND_ORDER: Final = 0.25
"""Share of its way by which a code in an average misses its bookkeeping at most."""
_AT_ONCE: Final = 2.0
"""Copies that are averaged after every step are apart by one step, so by this many times (1 - decay) of the whole."""

_Vector = npt.NDArray[np.float64]


def average(book: Book) -> Cause | None:
    """Return an average of A with another file, or of several files.

    Codes that an average leaves miss their bookkeeping by little: by the square of how far the files are apart. Codes
    edited at random miss it by as much as they moved.
    """
    if book.a.narrow or book.b.narrow:
        return None
    off = book.off_b & book.moved & ~replaced_with_bookkeeping(book)
    shifted = book.shifted
    if not (off & shifted).any() or (off & shifted).sum() < _MOST * shifted.sum():
        return None
    weight = _weight(book, off & shifted)
    miss = _missed(book, off & shifted)
    if weight is None and miss > _SECOND_ORDER:
        return None
    step = min(_AT_ONCE * (1 - (book.family.decay or 1.0)), 0.05)
    how = MergeKind.RANKS if weight is None and miss <= step else MergeKind.AVERAGE
    return book.cause(Certainty.LIKELY, Merged(how, weight, numbers(off)))


def rows(book: Book, others: Cause | None) -> Cause | None:
    """Return rows taken from another file, given what their unhit codes tell by themselves; the rest stands still."""
    if others is None or not isinstance(others.evidence, EmaUpdates) or not others.evidence.unhit:
        return None
    return book.cause(Certainty.LIKELY, Merged(MergeKind.ROWS, None, numbers(~book.untouched)))


def _weight(book: Book, off: Mask) -> float | None:
    """Return the share of the other file in an average with A, on which the codes agree; None where they do not."""
    if book.off_a[off].any():
        return None
    epsilon = book.family.epsilon
    counts_a, counts_b = _smoothed(book.a, epsilon)[off], _smoothed(book.b, epsilon)[off]
    assert book.a.sums is not None
    assert book.b.sums is not None
    codes_a, codes_b, sums_a, sums_b = (
        array[off].astype(np.float64) for array in (book.a.codes, book.b.codes, book.a.sums, book.b.sums)
    )
    moved, counted = codes_b - codes_a, (counts_b - counts_a)[:, None]
    left = sums_b - sums_a - codes_a * counted - counts_a[:, None] * moved
    right = moved * counted
    # What roundings leave in `left`; a row below that tells nothing.
    noise = 2.0**-22 * (np.abs(sums_b) + np.abs(codes_a) * counts_b[:, None])
    size = np.einsum("ij,ij->i", right, right)
    clear = np.sqrt(size) > 5 * np.sqrt((noise * noise).sum(axis=1))
    if np.count_nonzero(clear) < 3:
        return None
    left, right, size = left[clear], right[clear], size[clear]
    factor = np.einsum("ij,ij->i", left, right) / size
    t = float(np.median(factor))
    if (counts_a + t * counted[:, 0])[clear].min() < 1e-3 * counts_a[clear].min():
        # No other file has such counts: these are rows that somebody scaled.
        return None
    agree = np.abs(factor - t) <= 0.1 * abs(t)
    residual = np.linalg.norm(left - t * right, axis=1) <= 0.3 * abs(t) * np.sqrt(size)
    if not t > 1.02 or (agree & residual).mean() < 0.8:
        return None
    return 1 / t


def _missed(book: Book, off: Mask) -> float:
    """Return by how much codes miss what their sums and counts say, as a share of how far they moved."""
    assert book.b.sums is not None
    expected = book.b.sums[off].astype(np.float64) / _smoothed(book.b, book.family.epsilon)[off][:, None]
    miss = np.linalg.norm(book.b.codes[off] - expected, axis=1)
    way = np.linalg.norm(book.b.codes[off].astype(np.float64) - book.a.codes[off], axis=1)
    return float(np.sqrt((miss**2).sum() / (way**2).sum()))


def _smoothed(state: State, epsilon: float) -> _Vector:
    assert state.counts is not None
    counts = state.counts.astype(np.float64)
    total = counts.sum(axis=1, keepdims=True)
    smoothed: _Vector = (counts + epsilon) / (total + counts.shape[1] * epsilon) * total
    return smoothed
