"""Which copies of two files were compared, and what is to be said of the others, in words."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from vqcheck.codebook.comparison import Comparison, CopyPair, EqualCopies, LoneCopy, Verdict
from vqcheck.language import tr, word
from vqcheck.report.views.words import all_of, listed

if TYPE_CHECKING:
    from vqcheck.audit.lock_result import LockCheck
    from vqcheck.codebook.diagnosis.result import Diagnosis


class Parties(NamedTuple):
    """What the two that were compared are called."""

    a: str
    b: str


def parties(found: "Comparison | LockCheck") -> Parties:
    return Parties("A", "B") if isinstance(found, Comparison) else Parties(tr("the lock"), tr("the file"))


def standing(relation: str, other: str) -> str:
    """Return how a copy stands to another one of its file."""
    said: dict[str, str] = {
        Verdict.IDENTICAL: tr("is the same as {other}", other=other),
        Verdict.WITHIN_ULPS: tr("is equal in all but the last places to {other}", other=other),
        Verdict.NOISE: tr("differs only by averaging noise in the last places from {other}", other=other),
    }
    return said.get(relation, tr("differs from {other}", other=other))


def told(comparison: "Comparison | LockCheck") -> list[str]:
    """Return what is to be said of copies, a sentence each; nothing where each side holds one alone."""
    same = {pair.a for pair in comparison.pairs if pair.verdict == Verdict.IDENTICAL}
    others = [each for each in comparison.equal if each.a not in same]
    told_already = {"A": {each.a for each in others}, "B": {each.b for each in others}}
    return [
        *_compared(comparison.pairs, parties(comparison)),
        *(equal(each, comparison) for each in others),
        *(lone(each, comparison) for each in comparison.lone if each.name not in told_already[each.side]),
    ]


def undecided(comparison: "Comparison | LockCheck") -> str:
    """Return why what was compared does not settle the question, in one sentence without its full stop."""
    if comparison.contradicting:
        first, *more = comparison.contradicting
        objection = _objection(first, parties(comparison))
        if more:
            objection = tr("{objection} (and {more} more)", objection=objection, more=len(more))
        return tr("the compared copies agree, but {objection}; --copy NAME chooses what to judge", objection=objection)
    first_pair = next(pair for pair in comparison.pairs if pair.guessed)
    names = _names(first_pair, parties(comparison))
    return tr(
        "could not decide which copies belong together: {names} differ, others agree; --copy NAME chooses", names=names
    )


def lone(copy: LoneCopy, found: "Comparison | LockCheck") -> str:
    """Return how a copy stands that has no partner."""
    own, other = parties(found) if copy.side == "A" else parties(found)[::-1]
    whose = _copy(own, copy.name)
    if copy.verdict == Verdict.UNREADABLE:
        return tr("{whose} cannot be read: {why}", whose=whose, why=copy.why)
    if copy.verdict == Verdict.NO_PARTNER:
        return tr(
            "{whose} is of a codec ({family}) that {other} does not hold", whose=whose, family=copy.family, other=other
        )
    if copy.equal:
        return tr("{whose} is the same as {other}'s '{equal}'", whose=whose, other=other, equal=copy.equal)
    if copy.agrees:
        stands = standing(copy.verdict, tr("its '{judged}'", judged=copy.judged))
        return tr("{whose} {stands}", whose=whose, stands=stands)
    return tr(
        "{whose} differs from its '{judged}', and {other} has no copy that is the same",
        whose=whose,
        judged=copy.judged,
        other=other,
    )


def _objection(copy: LoneCopy, both: Parties) -> str:
    """Return in few words why a copy leaves the question open."""
    own, other = both if copy.side == "A" else both[::-1]
    whose = _copy(own, copy.name)
    if copy.verdict == Verdict.UNREADABLE:
        return tr("{whose} cannot be read", whose=whose)
    if copy.verdict == Verdict.NO_PARTNER:
        return tr("{whose} is of a codec that {other} lacks", whose=whose, other=other)
    return tr("{whose} differs", whose=whose)


def equal(copies: EqualCopies, found: "Comparison | LockCheck") -> str:
    """Return that a copy of one side is the other's, though not by name."""
    a, b = parties(found)
    return tr("{whose} is the same as {other}", whose=_copy(b, copies.b), other=_whose(a, copies.a))


def of_which(diagnosis: "Diagnosis", comparison: Comparison) -> str:
    """Return which codec or copy a diagnosis is of; empty where only one was compared."""
    if len(comparison.pairs) < 2:
        return ""
    families = [pair.family for pair in comparison.pairs]
    return diagnosis.family if families.count(diagnosis.family) == 1 else diagnosis.copy


def _compared(pairs: Sequence[CopyPair], both: Parties) -> list[str]:
    guessed = [
        tr("{names} were compared, but other copies may belong together; --copy NAME chooses", names=_names(pair, both))
        for pair in pairs
        if pair.guessed
    ]
    if guessed or len(pairs) < 2:
        return guessed
    verdicts = listed(tr("{copy} {verdict}", copy=_name(pair), verdict=word(pair.verdict)) for pair in pairs)
    return [tr("{number} copies were compared by name: {verdicts}", number=len(pairs), verdicts=verdicts)]


def _name(pair: CopyPair) -> str:
    """Return what tells the pair from others."""
    return all_of(dict.fromkeys(name for name in (pair.a, pair.b) if name))


def _names(pair: CopyPair, both: Parties) -> str:
    return tr("{one} and {other}", one=_whose(both.a, pair.a), other=_whose(both.b, pair.b))


def _copy(party: str, name: str) -> str:
    return tr("{party}'s copy '{name}'", party=party, name=name)


def _whose(party: str, name: str) -> str:
    """Return whose copy it is; a lock of one copy has no name for it."""
    return tr("{party}'s '{name}'", party=party, name=name) if name else tr("{party}'s copy", party=party)
