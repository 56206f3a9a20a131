"""What the copies of two files come to together: the pairs, those without a partner, and the whole."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from vqcheck.codebook import digest, judge_tensors
from vqcheck.codebook.comparison import FAULTS, CopyPair, EqualCopies, LoneCopy, Scope, TensorDiff, Verdict
from vqcheck.codebook.copies import Copies, Copy
from vqcheck.codebook.digest import EncoderDigests
from vqcheck.codebook.family import Role
from vqcheck.codebook.file_record import FileOrder
from vqcheck.codebook.tensor_pair import Pair, TensorSide, pairs_of


def whole(diffs: tuple[TensorDiff, ...]) -> Verdict:
    """Return the verdict on one copy in both files."""
    verdicts = {diff.verdict for diff in diffs if diff.judged}
    if verdicts & FAULTS:
        return Verdict.CHANGED
    return next(
        (verdict for verdict in (Verdict.ROUNDED, Verdict.WITHIN_ULPS) if verdict in verdicts), Verdict.IDENTICAL
    )


def relation(judged: Copy, other: Copy, scope: str = Scope.ALL) -> Verdict:
    """Return how a copy stands to the judged one of the same file: a verdict, see `LoneCopy`."""
    return _relation(_stored(pairs_of(judged, other), other), scope)


def lone_copies(
    letter: str, held: Copies, paired: list[Copy], scope: str, digests: "DigestsOfCopies"
) -> list[LoneCopy]:
    """Return the copies of one file that have no partner; what is read of them goes into `digests`."""
    found = []
    for copy in held.sound:
        if any(copy is each for each in paired):
            continue
        family = copy.encoder.family.name
        judged = next((each for each in paired if each.encoder.family.name == family), None)
        pairs = _stored(pairs_of(judged or copy, copy), copy)
        digests.put(letter, copy, [each.b for each in pairs])
        verdict = _relation(pairs, scope) if judged else Verdict.NO_PARTNER
        found.append(LoneCopy(letter, family, copy.name, judged.name if judged else "", verdict))
    return found + [LoneCopy(letter, "", str(each.name), "", Verdict.UNREADABLE, each.why) for each in held.unreadable]


def _stored(pairs: Iterable[Pair], copy: Copy) -> list[Pair]:
    """Return the pairs of the judged copy and another: those that it stores, where it is loaded over the judged one."""
    return [pair for pair in pairs if copy.encoder.codebooks or pair.b.tensor]


def answered(a: list[LoneCopy], b: list[LoneCopy], equal: Sequence[EqualCopies]) -> tuple[LoneCopy, ...]:
    """Return the copies without a partner of both files, those that are the same marked as such."""
    mine = {each.a: each.b for each in reversed(equal) if any(copy.name == each.b for copy in b)}
    yours = {each.b: each.a for each in reversed(equal) if any(copy.name == each.a for copy in a)}
    return (
        *(replace(copy, equal=mine.get(copy.name, "")) for copy in a),
        *(replace(copy, equal=yours.get(copy.name, "")) for copy in b),
    )


class DigestsOfCopies:
    """The digests of every copy, where there are several to tell apart."""

    def __init__(self, *held: Copies) -> None:
        self._wanted = any(len(copies.sound) > 1 for copies in held)
        self._found: dict[str, list[tuple[Copy, EncoderDigests]]] = {"A": [], "B": []}

    def put(self, letter: str, copy: Copy, sides: list[TensorSide]) -> None:
        if self._wanted:
            self._found[letter].append((copy, combined(sides)))

    def equal(self, together: list[tuple[Copy, Copy]]) -> tuple[EqualCopies, ...]:
        """Return the copies of both files that are the same and were not compared with each other."""
        return tuple(
            EqualCopies(one.name, other.name)
            for one, mine in self._found["A"]
            for other, yours in self._found["B"]
            if mine.widest == yours.widest and not any(one is first and other is second for first, second in together)
        )


def verdict_on(pairs: tuple[CopyPair, ...], lone: Sequence[LoneCopy], equal: tuple[EqualCopies, ...]) -> Verdict:
    changed = [each for each in pairs if each.verdict == Verdict.CHANGED]
    # That a copy is not that of another name proves nothing where one that is the same may be the one meant.
    if any(not each.guessed or not _has_equal(each, equal) for each in changed):
        return Verdict.CHANGED
    if changed or not all(copy.agrees for copy in lone):
        return Verdict.UNDECIDED
    verdicts = {each.verdict for each in pairs}
    return next(
        (verdict for verdict in (Verdict.ROUNDED, Verdict.WITHIN_ULPS) if verdict in verdicts), Verdict.IDENTICAL
    )


def _has_equal(copies: CopyPair, equal: tuple[EqualCopies, ...]) -> bool:
    return any(each.a == copies.a or each.b == copies.b for each in equal)


def combined(sides: Sequence[TensorSide]) -> EncoderDigests:
    """Return the digests of one copy, given its part of each pair."""
    digests = {side.tensor: side.digest for side in sides if side.tensor and side.digest}
    return digest.combine(sides[0].encoder, digests, digest.F32V1)


def _relation(pairs: list[Pair], scope: str) -> Verdict:
    record = pairs[0].a.record
    diffs = judge_tensors.judge(pairs, scope, FileOrder(record, record)).diffs
    verdict = whole(diffs)
    if verdict in (Verdict.IDENTICAL, Verdict.WITHIN_ULPS):
        return verdict
    return Verdict.NOISE if is_noise(pairs, scope) else Verdict.CHANGED


MOST_ULPS: Final = 16
"""Units in the last place; an average that decays by 0.99 a step settles within 15, a step of training goes further."""
_WIDE: Final = ("float32", "float64")


def is_noise(pairs: list[Pair], scope: str) -> bool:
    """Say whether two copies of one file differ by no more than averaging equals leaves.

    Only of wide types: a last place of float16 is a step that training takes.
    """
    return all(_is_near(pair) for pair in pairs if pair.is_judged(scope))


def _is_near(pair: Pair) -> bool:
    a, b = pair.a.tensor, pair.b.tensor
    if a is None or b is None:
        return a is b
    if a.shape != b.shape or pair.a.digest == pair.b.digest:
        return a.shape == b.shape
    if a.role == Role.INIT_FLAG or a.tensor.dtype != b.tensor.dtype or a.tensor.dtype not in _WIDE:
        return False
    from vqcheck.codebook.tensor_change import ulps_apart
    from vqcheck.codebook.values import as_array

    values = as_array(a, pair.a.data), as_array(b, pair.b.data)
    return ulps_apart(*values, a.tensor.dtype, MOST_ULPS) is not None
