"""Says why two VQ encoders differ, what that does, and what to do: from the two files alone."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from vqcheck.codebook import health, model
from vqcheck.codebook.comparison import Comparison, Verdict
from vqcheck.codebook.diagnosis import displacement, projection, roundings, same_codes
from vqcheck.codebook.diagnosis.advice import SAME_TOKENS, advise
from vqcheck.codebook.diagnosis.causes import of_codebook
from vqcheck.codebook.diagnosis.evidence import CODE, Initialised, MissingBooks, NeverTrained, Unexplained, ZeroSigns
from vqcheck.codebook.diagnosis.refutation import contradicts
from vqcheck.codebook.diagnosis.result import Cause, Certainty, CodeChanges, Diagnosis, Displacement, TokenFlips
from vqcheck.codebook.diagnosis.stored_encoder import StoredEncoder, book_at
from vqcheck.codebook.family import BOOKKEEPING, CODEBOOK_ROLES, Derivation, Role
from vqcheck.codebook.judge_tensors import JudgedTensors
from vqcheck.codebook.values import Array, layer_weight
from vqcheck.codebook.vq_encoder import BookPlace, Place
from vqcheck.errors import UsageError
from vqcheck.language import tr

_MOVED: Final = (Verdict.CHANGED, Verdict.OTHER_SHAPE, Verdict.MISSING)
_MOST_CODES: Final = 1 << 14
"""Codes of the largest codebook whose change is explained; the search for neighbours takes time with the square."""
_TOO_MANY: Final = tr("a codebook of more than {most} codes is not looked into", most=_MOST_CODES)


def diagnose(a: StoredEncoder, b: StoredEncoder, judged: JudgedTensors) -> Diagnosis:
    """Return the diagnosis of two VQ encoders, given the verdict on each tensor that both have or one lacks."""
    verdicts = judged.verdicts
    by_rounding = roundings.by_rounding(judged)
    last_places = roundings.last_places(a, b, judged)
    unexplained = {
        place: verdict
        for place, verdict in verdicts.items()
        if place not in by_rounding and not (last_places and verdict == Verdict.CHANGED)
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
            role
            for role in CODEBOOK_ROLES
            if verdicts.get((*place, role, "")) in (Verdict.CHANGED, Verdict.OTHER_SHAPE)
        )
        # What rounding or a few last places explain is no evidence of anything else, unless something else moved, too.
        evident = frozenset(role for role in changed if (*place, role, "") in unexplained)
        if untrained[place]:
            if len(untrained[place]) == 1 and changed:
                how = "filled" if untrained[place] == "A" else "emptied"
                causes.append(Cause(Certainty.CERTAIN, Initialised(how, None), number))
        elif (
            changed & {Role.CODES, Role.EMA_SUM, Role.EMA_COUNT}
            or verdicts.get((*place, Role.CODES, "")) == Verdict.ROUNDED
        ):
            book = book_at(number, a, b, (books_a[place], books_b[place]), changed)
            if book and book.a.codes.shape != book.b.codes.shape:
                causes.append(same_codes.part(book))
                continue
            if book and book.a.codes.shape[1] > _MOST_CODES:
                causes += [book.cause(Certainty.CANNOT_TELL, Unexplained(_TOO_MANY))] if evident else []
                continue
            if book and evident:
                causes += of_codebook(book)
                codes.append(displacement.by_code(book, a.encoder.where(place)))
            if book and (Role.CODES in book.changed or not book.changed):
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
        codes_moved=any(role == Role.CODES and verdict in _MOVED for (*_, role, _), verdict in verdicts.items()),
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
            tr(
                "--features: tokens are derived for {family}, which did not change; {other} did",
                family=comparison.a.family,
                other=found.family,
            )
        )
    same_lookup = any(advice.code == SAME_TOKENS for advice in found.advice)
    advice = advise(found.causes, flips, found.family, same_lookup=same_lookup)
    diagnosis = replace(found, flips=flips, advice=advice)
    return replace(comparison, diagnosis=diagnosis)


def _same_lookup(a: StoredEncoder, verdicts: dict[Place, str], causes: list[Cause]) -> bool:
    """Say whether all that a lookup reads is equal in both files, as numbers: sums and counts alone decide no token."""
    if a.encoder.family.derivation != Derivation.STORED:
        return False
    differing = {role for (*_, role, _), verdict in verdicts.items() if verdict != Verdict.IDENTICAL} - {*BOOKKEEPING}
    only_signs = bool(causes) and all(isinstance(cause.evidence, ZeroSigns) for cause in causes)
    return not differing or (only_signs and differing == {Role.CODES})


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


def _projection(a: StoredEncoder, b: StoredEncoder, verdicts: dict[Place, str]) -> Iterator[Cause]:
    for role in (Role.INPUT_PROJ, Role.OUTPUT_PROJ):
        moved = {
            a.encoder.label(in_a): (a.array(in_a), b.array(in_b))
            for in_a, in_b in a.pairs(b)
            if in_a.role == role and in_a.token_relevant and verdicts.get(in_a.place) == Verdict.CHANGED
        } | _spelled_otherwise(a, b, verdicts, role)
        if moved:
            cause = projection.find(moved) if role == Role.INPUT_PROJ else projection.find_behind(moved)
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
        if (
            verdict != Verdict.CHANGED
            or place[3] != role
            or place[:4] not in relevant
            or not place[4].endswith("weight")
        ):
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
