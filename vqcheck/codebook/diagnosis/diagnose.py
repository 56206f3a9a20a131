"""Says why two VQ encoders differ, what that does, and what to do: from the two files alone.

Nothing here imports numpy until a codebook has to be calculated with: equal files that were never trained get their
diagnosis, too.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook import health, model
from vqcheck.codebook.comparison import CHANGED, IDENTICAL, MISSING, OTHER_SHAPE, ROUNDED, Comparison
from vqcheck.codebook.diagnosis import contradiction
from vqcheck.codebook.diagnosis.advice import SAME_TOKENS, advise
from vqcheck.codebook.diagnosis.evidence import (
    CODE,
    Initialised,
    LastPlaces,
    LostByRounding,
    MissingBooks,
    NeverTrained,
    Rounding,
    Unrelated,
    WithinAStep,
    ZeroSigns,
)
from vqcheck.codebook.diagnosis.result import CERTAIN, LIKELY, Cause, CodeChanges, Diagnosis, Displacement, TokenFlips
from vqcheck.codebook.family import (
    BOOKKEEPING,
    CODEBOOK_ROLES,
    CODES,
    EMA_COUNT,
    EMA_SUM,
    INPUT_PROJ,
    OUTPUT_PROJ,
    STORED,
)
from vqcheck.codebook.file_record import RoundingReading
from vqcheck.codebook.tensor_pair import TensorSide
from vqcheck.codebook.vq_encoder import BookPlace, Codebook, Place, RoleTensor, VQEncoder
from vqcheck.errors import UsageError

_MOVED = (CHANGED, OTHER_SHAPE, MISSING)
_MOST_CODES = 1 << 14
"""Codes of the largest codebook whose change is explained; the search for neighbours takes time with the square."""

if TYPE_CHECKING:
    from vqcheck.codebook.diagnosis.book import Book, State
    from vqcheck.codebook.ema_fit import Array
    from vqcheck.codebook.judge_tensors import JudgedTensors


@dataclass(frozen=True, slots=True)
class Reading:
    """One file's VQ encoder; its tensors are read when they are needed, and only once."""

    checkpoint: Checkpoint
    encoder: VQEncoder
    sides: dict[RoleTensor, TensorSide]

    def array(self, tensor: RoleTensor) -> "Array":
        """Return a tensor's values in its canonical shape."""
        from vqcheck.codebook.values import as_array

        return as_array(tensor, self.sides[tensor].data)

    def places(self) -> frozenset[BookPlace]:
        """Return where the file has a codebook, a tied one at each of its places."""
        return frozenset(place for codebook in self.encoder.codebooks for place in (codebook.place, *codebook.tied))

    def books(self) -> dict[tuple[int, int, int], Codebook]:
        return {codebook.codes.place[:3]: codebook for codebook in self.encoder.codebooks}


def diagnose(a: Reading, b: Reading, judged: "JudgedTensors") -> Diagnosis:
    """Return the diagnosis of two VQ encoders, given the verdict on each tensor that both have or one lacks."""
    verdicts = judged.verdicts
    by_rounding = _by_rounding(judged)
    last_places = _last_places(a, b, judged)
    unexplained = {
        place: verdict
        for place, verdict in verdicts.items()
        if place not in by_rounding and not (last_places and verdict == CHANGED)
    }
    causes: list[Cause] = []
    displacement: list[Displacement] = []
    codes: list[CodeChanges] = []
    untrained = _never_trained(a, b)
    if any(untrained.values()):
        sides = tuple(side for side in "AB" if any(side in found for found in untrained.values()))
        causes.append(Cause(CERTAIN, NeverTrained(sides)))
    books_a, books_b = a.books(), b.books()
    numbers = _numbers(a, b)
    for place in sorted(books_a.keys() & books_b.keys()):
        number = numbers[place]
        changed = frozenset(
            role for role in CODEBOOK_ROLES if verdicts.get((*place, role, "")) in (CHANGED, OTHER_SHAPE)
        )
        # What rounding or a few last places explain is no evidence of anything else, unless something else moved, too.
        evident = frozenset(role for role in changed if (*place, role, "") in unexplained)
        if untrained[place]:
            if len(untrained[place]) == 1 and changed:
                how = "filled" if untrained[place] == "A" else "emptied"
                causes.append(Cause(CERTAIN, Initialised(how, None), number))
        elif verdicts.get((*place, CODES, "")) == OTHER_SHAPE:
            shapes = books_a[place].codes.shape, books_b[place].codes.shape
            causes.append(Cause(CERTAIN, Unrelated(None, *shapes), number))
        elif changed & {CODES, EMA_SUM, EMA_COUNT} or verdicts.get((*place, CODES, "")) == ROUNDED:
            book = _book(number, a, b, (books_a[place], books_b[place]), changed)
            if book and evident:
                from vqcheck.codebook.diagnosis import code_changes
                from vqcheck.codebook.diagnosis.causes import of_codebook

                causes += of_codebook(book)
                codes.append(code_changes.measure(book, a.encoder.where(place)))
            if book and (CODES in book.changed or not book.changed):
                from vqcheck.codebook.diagnosis.displacement import measure

                displacement += filter(None, [measure(book)])
    causes += _projection(a, b, unexplained)
    causes += _missing_books(a, b)
    causes += _roundings(judged, numbers) + ([Cause(CERTAIN, last_places)] if last_places else [])
    order = [*CODE.values()]
    causes.sort(key=lambda cause: order.index(cause.code))
    training = model.training(a.checkpoint), model.training(b.checkpoint)
    contradicted = [cause for cause in causes if contradiction.contradicts(cause, training)]
    causes = [replace(cause, certainty=LIKELY) if cause in contradicted else cause for cause in causes]
    return Diagnosis(
        family=a.encoder.family.name,
        causes=tuple(causes),
        displacement=tuple(displacement),
        flips=None,
        training=training,
        advice=advise(tuple(causes), None, a.encoder.family.name, same_lookup=_same_lookup(a, verdicts, causes)),
        codes=tuple(codes),
        codes_moved=any(role == CODES and verdict in _MOVED for (*_, role, _), verdict in verdicts.items()),
        contradicted=bool(contradicted),
    )


def with_flips(comparison: Comparison, flips: TokenFlips) -> Comparison:
    """Return the comparison with what its change does to real tokens.

    Raises:
        UsageError: the codec whose tokens were derived, the first of the files, is not the one that changed.

    """
    found = comparison.diagnosis
    if found is None:
        return comparison
    if found.family != comparison.a.family:
        raise UsageError(
            f"--features: tokens are derived for {comparison.a.family}, which did not change; {found.family} did"
        )
    same_lookup = any(advice.code == SAME_TOKENS for advice in found.advice)
    advice = advise(found.causes, flips, found.family, same_lookup=same_lookup)
    diagnosis = replace(found, flips=flips, advice=advice)
    return replace(comparison, diagnosis=diagnosis)


def _same_lookup(a: Reading, verdicts: dict[Place, str], causes: list[Cause]) -> bool:
    """Say whether all that a lookup reads is equal in both files, as numbers: sums and counts alone decide no token."""
    if a.encoder.family.derivation != STORED:
        return False
    differing = {role for (*_, role, _), verdict in verdicts.items() if verdict != IDENTICAL} - {*BOOKKEEPING}
    only_signs = bool(causes) and all(isinstance(cause.evidence, ZeroSigns) for cause in causes)
    return not differing or (only_signs and differing == {CODES})


def _numbers(a: Reading, b: Reading) -> dict[BookPlace, int]:
    """Return the number of each codebook in the family's order, also of one that a file lacks."""
    return {place: number for number, place in enumerate(sorted(a.places() | b.places()))}


def _missing_books(a: Reading, b: Reading) -> Iterator[Cause]:
    numbers = _numbers(a, b)
    for letter, lacking, other in (("A", a, b), ("B", b, a)):
        missing = sorted(other.places() - lacking.places())
        if missing:
            yield Cause(CERTAIN, MissingBooks(letter, tuple(numbers[place] for place in missing), len(other.places())))


def _never_trained(a: Reading, b: Reading) -> dict[tuple[int, int, int], str]:
    """Return for each codebook the sides, as letters, on which it waits for its first batch."""
    found: dict[tuple[int, int, int], str] = {}
    for letter, reading in (("A", a), ("B", b)):
        for place, codebook in reading.books().items():
            waits = health.never_trained(reading.checkpoint, codebook)
            found[place] = found.get(place, "") + letter * waits
    return found


def _book(
    number: int, a: Reading, b: Reading, books: tuple[Codebook, Codebook], changed: frozenset[str]
) -> "Book | None":
    from vqcheck.codebook.diagnosis.book import Book
    from vqcheck.codebook.diagnosis.padding import padded_codes

    state_a, state_b = _state(a, books[0]), _state(b, books[1])
    if state_a is None or state_b is None or state_a.codes.shape[1] > _MOST_CODES:
        return None
    biases = [bias for reading, book in zip((a, b), books, strict=True) if (bias := _bias(reading, book)) is not None]
    return Book(number, a.encoder.family, state_a, state_b, changed, padded_codes(state_a, state_b, biases))


def _bias(reading: Reading, codebook: Codebook) -> "Array | None":
    """Return what the projection makes of a padded frame, `[dim]`, where this codebook's lookup is the first to see it.

    Padding is zero, so that the bias alone is left.
    """
    first = min(each.place for each in reading.encoder.codebooks if each.place[0] == codebook.place[0])
    if codebook.place != first:
        return None
    biases = [tensor for tensor in reading.encoder.projection if (tensor.role, tensor.part) == (INPUT_PROJ, "bias")]
    fitting = [tensor for tensor in biases if tensor.shape == codebook.codes.shape[-1:]]
    return reading.array(fitting[0]) if len(fitting) == 1 else None


def _state(reading: Reading, codebook: Codebook) -> "State | None":
    """Return the codebook as numbers; codes that are not stored are calculated from sums and counts, as in Mimi."""
    from vqcheck.codebook.diagnosis.book import State

    arrays: dict[str, Array] = {
        tensor.role: reading.array(tensor) for tensor in codebook.tensors if tensor.role in (CODES, *BOOKKEEPING)
    }
    codes, sums, counts = (arrays.get(role) for role in (CODES, EMA_SUM, EMA_COUNT))
    if codes is None and sums is not None and counts is not None:
        codes = sums / counts.clip(min=1e-5)[..., None]
    return None if codes is None else State(codes, sums, counts)


def _projection(a: Reading, b: Reading, verdicts: dict[Place, str]) -> Iterator[Cause]:
    for role in (INPUT_PROJ, OUTPUT_PROJ):
        moved = {
            a.encoder.label(in_a): (a.array(in_a), b.array(in_b))
            for in_a, in_b in _pairs(a, b)
            if in_a.role == role and in_a.token_relevant and verdicts.get(in_a.place) == CHANGED
        } | _spelled_otherwise(a, b, verdicts, role)
        if moved:
            from vqcheck.codebook.diagnosis import projection

            cause = projection.find(moved) if role == INPUT_PROJ else projection.find_behind(moved)
            if cause:
                yield cause


def _spelled_otherwise(
    a: Reading, b: Reading, verdicts: dict[Place, str], role: str
) -> dict[str, tuple["Array", "Array"]]:
    """Return projections that moved, and of which one file has the weight norm and one has not."""
    relevant = {
        tensor.place[:4] for reading in (a, b) for tensor in reading.encoder.projection if tensor.token_relevant
    }
    from vqcheck.codebook.values import layer_weight

    moved: dict[str, tuple[Array, Array]] = {}
    for place, verdict in verdicts.items():
        if verdict != CHANGED or place[3] != role or place[:4] not in relevant or not place[4].endswith("weight"):
            continue
        stem = place[4].removesuffix("weight")
        weights = [
            layer_weight(
                {
                    tensor.part.removeprefix(stem): reading.array(tensor)
                    for tensor in reading.encoder.projection
                    if tensor.place[:4] == place[:4] and tensor.part.startswith(stem)
                }
            )
            for reading in (a, b)
        ]
        if weights[0] is not None and weights[1] is not None:
            where = a.encoder.where(place[:3])
            moved[f"{where} {role}.{place[4]}".strip()] = weights[0], weights[1]
    return moved


def _by_rounding(judged: "JudgedTensors") -> set[Place]:
    """Return the tensors whose change is that a rounding lost codes, or that they moved by less than a step."""
    lost = {place for place, loss in judged.losses.items() if loss.of_use}
    return lost | {place for place, diff in judged.readings.items() if diff.reading is RoundingReading.TRAINED}


def _roundings(judged: "JudgedTensors", numbers: dict[BookPlace, int]) -> list[Cause]:
    """Return what was rounded, moved by less than a step, or lost in a rounding."""
    causes: list[Cause] = []
    readings = {place: diff for place, diff in judged.readings.items() if diff.judged}
    for place, loss in judged.losses.items():
        dtype = next((diff.rounded_to for at, diff in judged.readings.items() if at[:3] == place[:3]), "")
        if loss.of_use:
            lost = LostByRounding(dtype, loss.side, loss.zero, loss.not_finite, loss.equal)
            causes.append(Cause(CERTAIN, lost, numbers[place[:3]]))
    moved = [diff for diff in readings.values() if diff.reading is RoundingReading.TRAINED]
    if moved:
        sides = {diff.narrower for diff in moved}
        dtypes = " and ".join(sorted({diff.rounded_to for diff in moved}))
        largest = max(diff.change.max_abs for diff in moved if diff.change)
        labels = tuple(diff.label for diff in moved)
        causes.append(Cause(CERTAIN, WithinAStep(dtypes, sides.pop() if len(sides) == 1 else "", labels, largest)))
    elif readings and CHANGED not in judged.verdicts.values():
        first = next((diff for diff in readings.values() if diff.reading is RoundingReading.UNDECIDED), None)
        undecided = first is not None
        first = first or next(iter(readings.values()))
        causes.append(Cause(CERTAIN, Rounding(first.rounded_to, first.narrower, undecided)))
    return causes


def _last_places(a: Reading, b: Reading, judged: "JudgedTensors") -> LastPlaces | None:
    """Return by how little two files differ, where most rows of every changed tensor do, in their last places alone."""
    changed = [
        diff
        for diff in judged.diffs
        if diff.verdict == CHANGED and diff.judged and diff.reading is None and diff.a_digest and diff.change
    ]
    others = any(diff.verdict in (MISSING, OTHER_SHAPE) for diff in judged.diffs if diff.judged)
    everywhere = all(2 * diff.change.rows_changed > diff.change.rows for diff in changed if diff.change)
    if not changed or others or not everywhere:
        return None
    from vqcheck.codebook.diagnosis.last_places import CLEAR, MOST_ULPS
    from vqcheck.codebook.tensor_change import ulps_apart

    labels = {diff.label for diff in changed}
    most = 0
    for in_a, in_b in _pairs(a, b):
        if a.encoder.label(in_a) in labels:
            dtype = in_a.tensor.dtype
            if dtype != in_b.tensor.dtype or dtype not in CLEAR:
                return None
            apart = ulps_apart(a.array(in_a), b.array(in_b), dtype, MOST_ULPS[dtype])
            if apart is None:
                return None
            most = max(most, apart)
    return LastPlaces(most, tuple(sorted(labels))) if most else None


def _pairs(a: Reading, b: Reading) -> Iterator[tuple[RoleTensor, RoleTensor]]:
    in_b = {tensor.place: tensor for tensor in b.encoder.tensors}
    return ((tensor, in_b[tensor.place]) for tensor in a.encoder.tensors if tensor.place in in_b)
