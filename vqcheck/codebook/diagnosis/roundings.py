"""Finds what rounding explains: exports, movements below a step, and values that differ in their last places alone.

The last places differ in averages of equal files, and after another order of summation.
"""

from typing import Final

from vqcheck.codebook.comparison import Verdict
from vqcheck.codebook.diagnosis.book import Book
from vqcheck.codebook.diagnosis.evidence import LastPlaces, LostByRounding, Rounding, WithinAStep
from vqcheck.codebook.diagnosis.result import Cause, Certainty
from vqcheck.codebook.diagnosis.stored_encoder import StoredEncoder
from vqcheck.codebook.family import Role
from vqcheck.codebook.file_record import RoundingReading
from vqcheck.codebook.judge_tensors import JudgedTensors
from vqcheck.codebook.tensor_change import ulps_apart
from vqcheck.codebook.vq_encoder import BookPlace, Place

_MOST_ULPS: Final = {"float64": 4, "float32": 4, "float16": 2}
"""Units in the last place within which such values stay. In narrower types one update may move them as little."""
_CLEAR: Final = ("float64", "float32")
"""Types in which no update at all moves values as little as this."""
_SOME: Final = 3
"""Codes that differ before it is called a calculation and no edit of one code."""


def of_book(book: Book) -> Cause | None:
    """Return by how little codes, sums and counts of one book differ, where they differ in their last places alone."""
    dtype = book.b.precision
    most = _MOST_ULPS.get(dtype)
    if most is None or book.a.precision != dtype:
        return None
    pairs = (
        (Role.CODES, book.a.codes, book.b.codes),
        (Role.EMA_SUM, book.a.sums, book.b.sums),
        (Role.EMA_COUNT, book.a.counts, book.b.counts),
    )
    apart = {role: ulps_apart(a, b, dtype, most) for role, a, b in pairs if a is not None and b is not None}
    if any(ulps is None for ulps in apart.values()):
        return None
    moved = {role: ulps for role, ulps in apart.items() if ulps}
    if int((~book.untouched).sum()) < _SOME:
        return None
    certainty = Certainty.CERTAIN if dtype in _CLEAR else Certainty.LIKELY
    return book.cause(certainty, LastPlaces(max(moved.values()), tuple(moved)))


def by_rounding(judged: JudgedTensors) -> set[Place]:
    """Return the tensors whose change is that a rounding lost codes, or that they moved by less than a step."""
    lost = {place for place, loss in judged.losses.items() if loss.of_use}
    return lost | {place for place, diff in judged.readings.items() if diff.reading is RoundingReading.TRAINED}


def find(judged: JudgedTensors, numbers: dict[BookPlace, int]) -> list[Cause]:
    """Return what was rounded, moved by less than a step, or lost in a rounding."""
    causes: list[Cause] = []
    readings = {place: diff for place, diff in judged.readings.items() if diff.judged}
    for place, loss in judged.losses.items():
        dtype = next((diff.rounded_to for at, diff in judged.readings.items() if at[:3] == place[:3]), "")
        if loss.of_use:
            lost = LostByRounding(dtype, loss.side, loss.zero, loss.not_finite, loss.equal)
            causes.append(Cause(Certainty.CERTAIN, lost, numbers[place[:3]]))
    moved = [diff for diff in readings.values() if diff.reading is RoundingReading.TRAINED]
    if moved:
        sides = {diff.narrower for diff in moved}
        dtypes = " and ".join(sorted({diff.rounded_to for diff in moved}))
        largest = max(diff.change.max_abs for diff in moved if diff.change)
        labels = tuple(diff.label for diff in moved)
        causes.append(
            Cause(Certainty.CERTAIN, WithinAStep(dtypes, sides.pop() if len(sides) == 1 else "", labels, largest))
        )
    elif readings and not {Verdict.CHANGED, Verdict.OTHER_SHAPE} & {*judged.verdicts.values()}:
        first = next((diff for diff in readings.values() if diff.reading is RoundingReading.UNDECIDED), None)
        undecided = first is not None
        first = first or next(iter(readings.values()))
        causes.append(Cause(Certainty.CERTAIN, Rounding(first.rounded_to, first.narrower, undecided)))
    return causes


def last_places(a: StoredEncoder, b: StoredEncoder, judged: JudgedTensors) -> LastPlaces | None:
    """Return by how little two files differ, where most rows of every changed tensor do, in their last places alone."""
    changed = [
        diff
        for diff in judged.diffs
        if diff.verdict == Verdict.CHANGED and diff.judged and diff.reading is None and diff.a_digest and diff.change
    ]
    others = any(diff.verdict in (Verdict.MISSING, Verdict.OTHER_SHAPE) for diff in judged.diffs if diff.judged)
    everywhere = all(2 * diff.change.rows_changed > diff.change.rows for diff in changed if diff.change)
    if not changed or others or not everywhere:
        return None
    labels = {diff.label for diff in changed}
    most = 0
    for in_a, in_b in a.pairs(b):
        if a.encoder.label(in_a) in labels:
            dtype = in_a.tensor.dtype
            if dtype != in_b.tensor.dtype or dtype not in _CLEAR:
                return None
            apart = ulps_apart(a.array(in_a), b.array(in_b), dtype, _MOST_ULPS[dtype])
            if apart is None:
                return None
            most = max(most, apart)
    return LastPlaces(most, tuple(sorted(labels))) if most else None
