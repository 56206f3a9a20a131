"""Finds values that differ in their last places alone: averages of equal files, or another order of summation."""

from typing import Final

from vqcheck.codebook.diagnosis.book import Book
from vqcheck.codebook.diagnosis.evidence import LastPlaces
from vqcheck.codebook.diagnosis.result import CERTAIN, LIKELY, Cause
from vqcheck.codebook.family import CODES, EMA_COUNT, EMA_SUM
from vqcheck.codebook.tensor_change import ulps_apart

MOST_ULPS: Final = {"float64": 4, "float32": 4, "float16": 2}
"""Units in the last place within which such values stay. In narrower types one update may move them as little."""
CLEAR: Final = ("float64", "float32")
"""Types in which no update at all moves values as little as this."""
_SOME: Final = 3
"""Codes that differ before it is called a calculation and no edit of one code."""


def find(book: Book) -> Cause | None:
    """Return by how little codes, sums and counts of one book differ, where they differ in their last places alone."""
    dtype = book.b.precision
    most = MOST_ULPS.get(dtype)
    if most is None or book.a.precision != dtype:
        return None
    pairs = (
        (CODES, book.a.codes, book.b.codes),
        (EMA_SUM, book.a.sums, book.b.sums),
        (EMA_COUNT, book.a.counts, book.b.counts),
    )
    apart = {role: ulps_apart(a, b, dtype, most) for role, a, b in pairs if a is not None and b is not None}
    if any(ulps is None for ulps in apart.values()):
        return None
    moved = {role: ulps for role, ulps in apart.items() if ulps}
    if int((~book.untouched).sum()) < _SOME:
        return None
    certainty = CERTAIN if dtype in CLEAR else LIKELY
    return Cause(certainty, LastPlaces(max(moved.values()), tuple(moved)), book.number, book.head)
