"""Finds codes of one file among those of the other: under other numbers, or as a part of a larger codebook."""

from collections import defaultdict
from dataclasses import replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from vqcheck.codebook.diagnosis.book import Book, CountedBook, CountedState
from vqcheck.codebook.diagnosis.evidence import OtherShape, Permuted
from vqcheck.codebook.diagnosis.result import Cause, Certainty
from vqcheck.codebook.ema_fit import lengths
from vqcheck.codebook.values import Array, round_to

_FAR = 0.3
"""Share of the codebook's spread that codes move by at the median before most of them may have been exchanged."""

AnyBook = TypeVar("AnyBook", bound=Book)


def permuted(book: Book) -> Cause | None:
    """Return the permutation that turns A's codes into B's, if there is one and it moves any."""
    dtype = next((state.precision for state in (book.a, book.b) if state.narrow), "float32")
    pairs = [(_common(a, dtype), _common(b, dtype)) for a, b in zip(book.a.codes, book.b.codes, strict=True)]
    orders = [_order(a, b) for a, b in pairs]
    known = [order for order in orders if order is not None]
    if len(known) < len(orders):
        return None
    moved = sum(int(np.count_nonzero(order != np.arange(len(order)))) for order in known)
    if not moved:
        return None
    follows = None
    if book.a.counts is not None and book.b.counts is not None:
        follows = all(
            np.array_equal(_common(a[order], dtype), _common(b, dtype))
            for order, a, b in zip(known, book.a.counts, book.b.counts, strict=True)
        )
    return book.cause(Certainty.CERTAIN, Permuted(moved, book.b.codes.shape[0] * book.b.codes.shape[1], follows))


def part(book: Book) -> Cause:
    """Return how much of the smaller of two codebooks, whose shapes differ, is in the other one."""
    dtype = next((state.precision for state in (book.a, book.b) if state.narrow), "float32")
    channels = min(state.codes.shape[2] for state in (book.a, book.b))
    rows_a, rows_b = (
        _rows(_common(state.codes.reshape(-1, state.codes.shape[2])[:, :channels], dtype)) for state in (book.a, book.b)
    )
    smaller = "A" if (len(rows_a), book.a.codes.shape) < (len(rows_b), book.b.codes.shape) else "B"
    rows, others = (rows_a, rows_b) if smaller == "A" else (rows_b, rows_a)
    among = set(others)
    found = [number for number, row in enumerate(rows) if row in among]
    evidence = OtherShape(
        shape_a=book.a.codes.shape,
        shape_b=book.b.codes.shape,
        part=smaller if len(found) == len(rows) else "",
        shared=len(found),
        in_place=bool(found) and all(rows[number] == others[number] for number in found),
        rounded_to="" if book.a.precision == book.b.precision else dtype,
    )
    return book.cause(Certainty.CERTAIN, evidence)


def exchanged(book: AnyBook) -> tuple[AnyBook, Cause] | None:
    """Return the book of one head with codes back at their numbers, and which were exchanged besides moving; or None.

    Codes count as exchanged where they went far, and ended up near each other's old places.
    """
    a, b = (state.codes[0] for state in (book.a, book.b))
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return None
    way = lengths(np.subtract(b, a, dtype=np.float64))
    usual = float(np.median(way))
    spread = float(lengths(a - a.mean(axis=0, dtype=np.float64)).mean())
    far = np.flatnonzero(way > (5 * usual if usual < _FAR * spread else 0.0))
    if len(far) < 2:
        return None
    nearest = np.argmin(lengths(a) ** 2 - 2 * (b[far] @ a.T), axis=1)
    other = (nearest != far) & (np.linalg.norm(b[far] - a[nearest], axis=1) < way[far] / 4)
    far, nearest = far[other], nearest[other]
    if len(far) < 2 or not np.array_equal(np.sort(far), np.sort(nearest)):
        return None
    follows = None
    if isinstance(book, CountedBook):
        follows = not book.off_b[0, far].any()
    order = np.arange(len(a))
    order[nearest] = far
    evidence = Permuted(len(far), len(a), follows)
    return _reordered(book, order, bookkeeping=follows is not False), book.cause(Certainty.LIKELY, evidence)


def _reordered(book: AnyBook, order: npt.NDArray[np.intp], *, bookkeeping: bool) -> AnyBook:
    """Return the book of one head with B's code `order[i]` in place of its code i."""
    b = replace(book.b, codes=book.b.codes[:, order])
    if bookkeeping and isinstance(b, CountedState):
        b = replace(b, sums=b.sums[:, order], counts=b.counts[:, order])
    return replace(book, b=b)


def _order(a: Array, b: Array) -> npt.NDArray[np.intp] | None:
    """Return `order` with `a[order] == b` in every row, or None. Equal rows stay where they are if they can."""
    # Dictionaries for their keys, in order: a number is taken out of many as fast as out of few.
    places: defaultdict[bytes, dict[int, None]] = defaultdict(dict)
    rows_a, rows_b = _rows(a), _rows(b)
    for number, row in enumerate(rows_a):
        places[row][number] = None
    order = np.full(len(b), -1, np.intp)
    for number, row in enumerate(rows_b):
        if row == rows_a[number]:
            del places[row][number]
            order[number] = number
    for number, row in enumerate(rows_b):
        if order[number] < 0:
            if not places.get(row):
                return None
            order[number] = places[row].popitem()[0]
    return order


def _rows(codes: Array) -> list[bytes]:
    return [row.tobytes() for row in codes]


def _common(values: Array, dtype: str) -> Array:
    return values if dtype == "float32" else round_to(values, dtype)
