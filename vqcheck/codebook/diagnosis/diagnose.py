"""Says why two VQ encoders differ, what that does, and what to do: from the two files alone."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook import health, model
from vqcheck.codebook.comparison import CHANGED, IDENTICAL, MISSING, OTHER_SHAPE, ROUNDED, Comparison
from vqcheck.codebook.diagnosis import displacement, projection, roundings, same_codes
from vqcheck.codebook.diagnosis.advice import SAME_TOKENS, advise
from vqcheck.codebook.diagnosis.book import Book, State, padded_codes
from vqcheck.codebook.diagnosis.causes import of_codebook
from vqcheck.codebook.diagnosis.evidence import CODE, Initialised, MissingBooks, NeverTrained, Unexplained, ZeroSigns
from vqcheck.codebook.diagnosis.refutation import contradicts
from vqcheck.codebook.diagnosis.result import Cause, Certainty, CodeChanges, Diagnosis, Displacement, TokenFlips
from vqcheck.codebook.ema_fit import Array
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
from vqcheck.codebook.judge_tensors import JudgedTensors
from vqcheck.codebook.tensor_pair import TensorSide
from vqcheck.codebook.values import as_array, layer_weight
from vqcheck.codebook.vq_encoder import BookPlace, Codebook, Place, RoleTensor, VQEncoder
from vqcheck.errors import UsageError
from vqcheck.quick_dataclass import quick_dataclass

_MOVED: Final = (CHANGED, OTHER_SHAPE, MISSING)
_MOST_CODES: Final = 1 << 14
"""Codes of the largest codebook whose change is explained; the search for neighbours takes time with the square."""
_TOO_MANY: Final = f"a codebook of more than {_MOST_CODES} codes is not looked into"


@quick_dataclass(frozen=True, slots=True)
class StoredEncoder:
    """One file's VQ encoder; its tensors are read when they are needed, and only once."""

    checkpoint: Checkpoint
    encoder: VQEncoder
    sides: dict[RoleTensor, TensorSide]

    def array(self, tensor: RoleTensor) -> Array:
        """Return a tensor's values in its canonical shape."""
        return as_array(tensor, self.sides[tensor].data)

    def places(self) -> frozenset[BookPlace]:
        """Return where the file has a codebook, a tied one at each of its places."""
        return frozenset(place for codebook in self.encoder.codebooks for place in (codebook.place, *codebook.tied))

    def books(self) -> dict[tuple[int, int, int], Codebook]:
        return {codebook.codes.place[:3]: codebook for codebook in self.encoder.codebooks}

    def pairs(self, other: "StoredEncoder") -> Iterator[tuple[RoleTensor, RoleTensor]]:
        """Yield the tensors that both files store, at one place."""
        theirs = {tensor.place: tensor for tensor in other.encoder.tensors}
        return ((tensor, theirs[tensor.place]) for tensor in self.encoder.tensors if tensor.place in theirs)


def diagnose(a: StoredEncoder, b: StoredEncoder, judged: JudgedTensors) -> Diagnosis:
    """Return the diagnosis of two VQ encoders, given the verdict on each tensor that both have or one lacks."""
    verdicts = judged.verdicts
    by_rounding = roundings.by_rounding(judged)
    last_places = roundings.last_places(a, b, judged)
    unexplained = {
        place: verdict
        for place, verdict in verdicts.items()
        if place not in by_rounding and not (last_places and verdict == CHANGED)
    }
    causes: list[Cause] = []
    moved: list[Displacement] = []
    codes: list[CodeChanges] = []
    untrained = _never_trained(a, b)
    if any(untrained.values()):
        sides = tuple(side for side in "AB" if any(side in found for found in untrained.values()))
        causes.append(Cause(Certainty.CERTAIN, NeverTrained(sides)))
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
                causes.append(Cause(Certainty.CERTAIN, Initialised(how, None), number))
        elif changed & {CODES, EMA_SUM, EMA_COUNT} or verdicts.get((*place, CODES, "")) == ROUNDED:
            book = _book(number, a, b, (books_a[place], books_b[place]), changed)
            if book and book.a.codes.shape != book.b.codes.shape:
                causes.append(same_codes.part(book))
                continue
            if book and book.a.codes.shape[1] > _MOST_CODES:
                causes += [book.cause(Certainty.CANNOT_TELL, Unexplained(_TOO_MANY))] if evident else []
                continue
            if book and evident:
                causes += of_codebook(book)
                codes.append(displacement.by_code(book, a.encoder.where(place)))
            if book and (CODES in book.changed or not book.changed):
                moved += filter(None, [displacement.measure(book)])
    causes += _projection(a, b, unexplained)
    causes += _missing_books(a, b)
    causes += roundings.find(judged, numbers) + ([Cause(Certainty.CERTAIN, last_places)] if last_places else [])
    order = [*CODE.values()]
    causes.sort(key=lambda cause: order.index(cause.code))
    training = model.training(a.checkpoint), model.training(b.checkpoint)
    contradicted = [cause for cause in causes if contradicts(cause, training)]
    causes = [replace(cause, certainty=Certainty.LIKELY) if cause in contradicted else cause for cause in causes]
    return Diagnosis(
        family=a.encoder.family.name,
        causes=tuple(causes),
        displacement=tuple(moved),
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


def _same_lookup(a: StoredEncoder, verdicts: dict[Place, str], causes: list[Cause]) -> bool:
    """Say whether all that a lookup reads is equal in both files, as numbers: sums and counts alone decide no token."""
    if a.encoder.family.derivation != STORED:
        return False
    differing = {role for (*_, role, _), verdict in verdicts.items() if verdict != IDENTICAL} - {*BOOKKEEPING}
    only_signs = bool(causes) and all(isinstance(cause.evidence, ZeroSigns) for cause in causes)
    return not differing or (only_signs and differing == {CODES})


def _numbers(a: StoredEncoder, b: StoredEncoder) -> dict[BookPlace, int]:
    """Return the number of each codebook in the family's order, also of one that a file lacks."""
    return {place: number for number, place in enumerate(sorted(a.places() | b.places()))}


def _missing_books(a: StoredEncoder, b: StoredEncoder) -> Iterator[Cause]:
    numbers = _numbers(a, b)
    for letter, lacking, other in (("A", a, b), ("B", b, a)):
        missing = sorted(other.places() - lacking.places())
        if missing:
            yield Cause(
                Certainty.CERTAIN, MissingBooks(letter, tuple(numbers[place] for place in missing), len(other.places()))
            )


def _never_trained(a: StoredEncoder, b: StoredEncoder) -> dict[tuple[int, int, int], str]:
    """Return for each codebook the sides, as letters, on which it waits for its first batch."""
    found: dict[tuple[int, int, int], str] = {}
    for letter, reading in (("A", a), ("B", b)):
        for place, codebook in reading.books().items():
            waits = health.never_trained(reading.checkpoint, codebook)
            found[place] = found.get(place, "") + letter * waits
    return found


def _book(
    number: int, a: StoredEncoder, b: StoredEncoder, books: tuple[Codebook, Codebook], changed: frozenset[str]
) -> Book | None:
    state_a, state_b = _state(a, books[0]), _state(b, books[1])
    if state_a is None or state_b is None:
        return None
    biases = [bias for reading, book in zip((a, b), books, strict=True) if (bias := _bias(reading, book)) is not None]
    return Book(number, a.encoder.family, state_a, state_b, changed, padded_codes(state_a, state_b, biases))


def _bias(reading: StoredEncoder, codebook: Codebook) -> Array | None:
    """Return what the projection makes of a padded frame, `[dim]`, where this codebook's lookup is the first to see it.

    Padding is zero, so that the bias alone is left.
    """
    first = min(each.place for each in reading.encoder.codebooks if each.place[0] == codebook.place[0])
    if codebook.place != first:
        return None
    biases = [tensor for tensor in reading.encoder.projection if (tensor.role, tensor.part) == (INPUT_PROJ, "bias")]
    fitting = [tensor for tensor in biases if tensor.shape == codebook.codes.shape[-1:]]
    return reading.array(fitting[0]) if len(fitting) == 1 else None


def _state(reading: StoredEncoder, codebook: Codebook) -> State | None:
    """Return the codebook as numbers; codes that are not stored are calculated from sums and counts, as in Mimi."""
    arrays: dict[str, Array] = {
        tensor.role: reading.array(tensor) for tensor in codebook.tensors if tensor.role in (CODES, *BOOKKEEPING)
    }
    codes, sums, counts = (arrays.get(role) for role in (CODES, EMA_SUM, EMA_COUNT))
    if codes is None and sums is not None and counts is not None:
        codes = sums / counts.clip(min=1e-5)[..., None]
    return None if codes is None else State(codes, sums, counts)


def _projection(a: StoredEncoder, b: StoredEncoder, verdicts: dict[Place, str]) -> Iterator[Cause]:
    for role in (INPUT_PROJ, OUTPUT_PROJ):
        moved = {
            a.encoder.label(in_a): (a.array(in_a), b.array(in_b))
            for in_a, in_b in a.pairs(b)
            if in_a.role == role and in_a.token_relevant and verdicts.get(in_a.place) == CHANGED
        } | _spelled_otherwise(a, b, verdicts, role)
        if moved:
            cause = projection.find(moved) if role == INPUT_PROJ else projection.find_behind(moved)
            if cause:
                yield cause


def _spelled_otherwise(
    a: StoredEncoder, b: StoredEncoder, verdicts: dict[Place, str], role: str
) -> dict[str, tuple[Array, Array]]:
    """Return projections that moved, and of which one file has the weight norm and one has not."""
    relevant = {
        tensor.place[:4] for reading in (a, b) for tensor in reading.encoder.projection if tensor.token_relevant
    }
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
