"""Measures how far codes moved against the distance to their neighbours, in the metric of the lookup.

With a_i and b_i the code i before and after, and h_i = min over j != i of |a_j - a_i| / 2, the displacement of code i
is |b_i - a_i| / h_i. All pairs of codes cost one matrix product, and those of both files a second one only where the
first does not show that no other code came near: a_i and b_j are at least |a_i - a_j| - |b_j - a_j| apart.
"""

import numpy as np
import numpy.typing as npt

from vqcheck.codebook.diagnosis.book import Book, once_a_book
from vqcheck.codebook.diagnosis.result import CodeChanges, Displacement
from vqcheck.codebook.ema_fit import Mask
from vqcheck.codebook.family import Metric
from vqcheck.codebook.values import Array

_MUCH_NEARER = 0.5
_CLEAR = 0.1
_NEARLY = 0.98
"""Share of a distance, and what rounding leaves of it where it is more than `_CLEAR` of the codes' lengths."""
_SCORES = 1 << 22
"""Distances that are held at a time."""

_Numbers = npt.NDArray[np.intp]


def measure(book: Book) -> Displacement | None:
    """Return how far the codes of one codebook moved, or None where there is no distance to measure by.

    A lookup by cosine compares directions, so there the codes' lengths are left out. One by argmax compares nothing.
    """
    if book.family.metric == Metric.ARGMAX:
        return None
    heads = zip(_heads(book), neighbours(book), strict=True)
    moved = np.concatenate([_displacement(a, b, apart) for (a, b), apart in heads])
    kept = retained(book).ravel()
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
        retained=int(np.count_nonzero(kept & measured)),
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
    return float(retained(book)[among].mean())


@once_a_book
def retained(book: Book) -> Mask:
    """Return which of A's codes `[heads, codes]` are nearest to B's code of the same number."""
    heads = zip(_heads(book), neighbours(book), strict=True)
    return np.stack([_retained(a, b, apart) for (a, b), apart in heads])


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


@once_a_book
def neighbours(book: Book) -> npt.NDArray[np.float64]:
    """Return how far each of A's codes `[heads, codes]` is from the nearest other one; NaN of a code that is alone."""
    return np.stack([_to_neighbours(a) for a, _ in _heads(book)])


def _to_neighbours(codes: Array) -> npt.NDArray[np.float64]:
    if len(codes) < 2:
        return np.full(len(codes), np.nan)
    with np.errstate(all="ignore"):
        return _distance(codes, codes[_nearest(codes, codes, skip_self=True)])


def _displacement(a: Array, b: Array, apart: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the displacement of each code, NaN where it cannot be measured."""
    with np.errstate(all="ignore"):
        moved = _distance(a, b) / (apart / 2)
    moved[~np.isfinite(moved) | (apart == 0)] = np.nan
    return moved


def _retained(a: Array, b: Array, apart: npt.NDArray[np.float64]) -> Mask:
    kept = np.ones(len(a), bool)
    with np.errstate(all="ignore"):
        way = _distance(a, b)
        # Where codes lie close together far from the origin, rounding hides which of them is the nearest.
        clear = apart > _CLEAR * np.sqrt(np.einsum("ij,ij->i", a, a, dtype=np.float64)).max()
        rows = np.flatnonzero(~(clear & (way + way.max() < _NEARLY * apart)))
        if len(rows):
            others = b[_nearest(a[rows], b)]
            # Equally near codes, as duplicates are, keep the number.
            kept[rows] = way[rows] <= _distance(a[rows], others) * (1 + 1e-6)
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
    for (a, b), apart in zip(_heads(book), neighbours(book), strict=True):
        with np.errstate(all="ignore"):
            nearest = _nearest(b, a)
            close.append(_distance(b, a[nearest]) < _MUCH_NEARER * apart[nearest])
    return float(np.concatenate(close).mean())


def _usage(counts: Array | None) -> tuple[float, ...] | None:
    return None if counts is None else tuple(counts.ravel().tolist())
