"""Measures how far codes moved against the distance to their neighbours, in the metric of the lookup.

With a_i and b_i the code i before and after, and h_i = min over j != i of |a_j - a_i| / 2, the displacement of code i
is |b_i - a_i| / h_i. All pairs of codes cost one matrix product.
"""

import numpy as np
import numpy.typing as npt

from vqcheck.codebook.diagnosis.book import Book
from vqcheck.codebook.diagnosis.result import CodeChanges, Displacement
from vqcheck.codebook.ema_fit import Mask
from vqcheck.codebook.family import Metric
from vqcheck.codebook.values import Array

_MUCH_NEARER = 0.5
_SCORES = 1 << 22
"""Distances that are held at a time."""

_Numbers = npt.NDArray[np.intp]


def measure(book: Book) -> Displacement | None:
    """Return how far the codes of one codebook moved, or None where there is no distance to measure by.

    A lookup by cosine compares directions, so there the codes' lengths are left out. One by argmax compares nothing.
    """
    if book.family.metric == Metric.ARGMAX:
        return None
    heads = [_head(a, b) for a, b in _heads(book)]
    moved = np.concatenate([displacement for displacement, _ in heads])
    measured = np.isfinite(moved)
    if not measured.any():
        return None
    values = moved[measured]
    return Displacement(
        codebook=book.number,
        codes=int(values.size),
        median=float(np.median(values)),
        p99=float(np.percentile(values, 99)),
        maximum=float(values.max()),
        maximum_code=int(np.flatnonzero(measured)[np.argmax(values)]),
        above_one=int(np.count_nonzero(values > 1)),
        retained=int(sum(np.count_nonzero(kept & np.isfinite(moved)) for moved, kept in heads)),
    )


def by_code(book: Book, name: str) -> CodeChanges:
    """Return what became of every code; `name` tells the codebook from others of its file."""
    with np.errstate(all="ignore"):
        difference = np.subtract(book.b.codes, book.a.codes, dtype=np.float64)
        moved = np.sqrt(np.einsum("hcd,hcd->hc", difference, difference))
    return CodeChanges(
        codebook=book.number,
        name=name,
        moved=tuple(moved.ravel().tolist()),
        usage=(_usage(book.a.counts), _usage(book.b.counts)),
    )


def same_number(book: Book, among: Mask) -> float:
    """Return the share of A's codes in a mask (not empty) that are nearest to B's of the same number."""
    kept = np.stack([_retained(a, b) for a, b in _heads(book)])
    return float(kept[among].mean())


def _heads(book: Book) -> list[tuple[Array, Array]]:
    """Return A's and B's codes of each head, as the lookup compares them."""
    pairs = zip(book.a.codes, book.b.codes, strict=True)
    if book.family.metric != Metric.COSINE:
        return list(pairs)
    with np.errstate(all="ignore"):
        return [(a / _length(a), b / _length(b)) for a, b in pairs]


def _length(codes: Array) -> Array:
    length: Array = np.linalg.norm(codes.astype(np.float64), axis=1, keepdims=True)
    return length


def _head(a: Array, b: Array) -> tuple[npt.NDArray[np.float64], Mask]:
    """Return displacement, NaN where it cannot be measured, and whether each code is retained."""
    with np.errstate(all="ignore"):
        if len(a) < 2:
            return np.full(len(a), np.nan), _retained(a, b)
        half = _distance(a, a[_nearest(a, a, skip_self=True)]) / 2
        moved = _distance(a, b) / half
    moved[~np.isfinite(moved) | (half == 0)] = np.nan
    return moved, _retained(a, b)


def _retained(a: Array, b: Array) -> Mask:
    with np.errstate(all="ignore"):
        # Equally near codes, as duplicates are, keep the number.
        kept: Mask = _distance(a, b) <= _distance(a, b[_nearest(a, b)]) * (1 + 1e-6)
    return kept


def _nearest(queries: Array, codes: Array, *, skip_self: bool = False) -> _Numbers:
    """Return the number of the nearest code for each query, both `[codes, dim]`.

    |q - c|^2 = |q|^2 - 2 q.c + |c|^2, of which the first term is the same for all codes.
    """
    queries, codes = queries.astype(np.float32, copy=False), codes.astype(np.float32, copy=False)
    squares = np.einsum("ij,ij->i", codes, codes)
    numbers: _Numbers = np.empty(len(queries), np.intp)
    # Some queries at a time: the scores of all would take the square of the codebook's size.
    step = max(1, _SCORES // max(1, len(codes)))
    for start in range(0, len(queries), step):
        scores = squares - 2 * (queries[start : start + step] @ codes.T)
        if skip_self:
            own = np.arange(len(scores))
            scores[own, start + own] = np.inf
        numbers[start : start + step] = np.argmin(np.where(np.isnan(scores), np.inf, scores), axis=1)
    return numbers


def _distance(a: Array, b: Array) -> npt.NDArray[np.float64]:
    difference = b.astype(np.float64) - a
    distance: npt.NDArray[np.float64] = np.sqrt(np.einsum("ij,ij->i", difference, difference))
    return distance


def near_others(book: Book) -> float:
    """Return the share of B's codes that lie much nearer to a code of A than A's codes lie to each other."""
    close = []
    for a, b in _heads(book):
        with np.errstate(all="ignore"):
            apart = _distance(a, a[_nearest(a, a, skip_self=True)])
            nearest = _nearest(b, a)
            close.append(_distance(b, a[nearest]) < _MUCH_NEARER * apart[nearest])
    return float(np.concatenate(close).mean())


def _usage(counts: Array | None) -> tuple[float, ...] | None:
    return None if counts is None else tuple(counts.ravel().tolist())
