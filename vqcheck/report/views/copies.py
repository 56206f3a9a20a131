"""Which copies of two files were compared, and what is to be said of the others, in words."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from vqcheck.codebook.comparison import Comparison, CopyPair, EqualCopies, LoneCopy, Verdict

if TYPE_CHECKING:
    from vqcheck.audit.lock_result import LockCheck
    from vqcheck.codebook.diagnosis.result import Diagnosis


class Parties(NamedTuple):
    """What the two that were compared are called."""

    a: str
    b: str


FILES: Final = Parties("A", "B")
LOCK: Final = Parties("the lock", "the file")

STANDING: Final[dict[str, str]] = {
    Verdict.IDENTICAL: "is the same as",
    Verdict.WITHIN_ULPS: "is equal in all but the last places to",
    Verdict.NOISE: "differs only by averaging noise in the last places from",
}
"""How a copy that agrees stands to another one of its file."""


def told(comparison: "Comparison | LockCheck", parties: Parties = FILES) -> list[str]:
    """Return what is to be said of copies, a sentence each; nothing where each side holds one alone."""
    same = {pair.a for pair in comparison.pairs if pair.verdict == Verdict.IDENTICAL}
    others = [each for each in comparison.equal if each.a not in same]
    told_already = {"A": {each.a for each in others}, "B": {each.b for each in others}}
    return [
        *_compared(comparison.pairs, parties),
        *(equal(each, parties) for each in others),
        *(lone(each, parties) for each in comparison.lone if each.name not in told_already[each.side]),
    ]


def undecided(comparison: "Comparison | LockCheck", parties: Parties = FILES) -> str:
    """Return why what was compared does not settle the question, in one sentence without its full stop."""
    if comparison.contradicting:
        first, *more = comparison.contradicting
        others = f" (and {len(more)} more)" if more else ""
        return f"the compared copies agree, but {_objection(first, parties)}{others}; --copy NAME chooses what to judge"
    first_pair = next(pair for pair in comparison.pairs if pair.guessed)
    names = _names(first_pair, parties)
    return f"could not decide which copies belong together: {names} differ, others agree; --copy NAME chooses"


def lone(copy: LoneCopy, parties: Parties = FILES) -> str:
    """Return how a copy stands that has no partner."""
    own, other = parties if copy.side == "A" else parties[::-1]
    whose = f"{own}'s copy '{copy.name}'"
    if copy.verdict == Verdict.UNREADABLE:
        return f"{whose} cannot be read: {copy.why}"
    if copy.verdict == Verdict.NO_PARTNER:
        return f"{whose} is of a codec ({copy.family}) that {other} does not hold"
    if copy.equal:
        return f"{whose} is the same as {other}'s '{copy.equal}'"
    if copy.agrees:
        return f"{whose} {STANDING[copy.verdict]} its '{copy.judged}'"
    return f"{whose} differs from its '{copy.judged}', and {other} has no copy that is the same"


def _objection(copy: LoneCopy, parties: Parties) -> str:
    """Return in few words why a copy leaves the question open."""
    own, other = parties if copy.side == "A" else parties[::-1]
    whose = f"{own}'s copy '{copy.name}'"
    if copy.verdict == Verdict.UNREADABLE:
        return f"{whose} cannot be read"
    return f"{whose} is of a codec that {other} lacks" if copy.verdict == Verdict.NO_PARTNER else f"{whose} differs"


def equal(copies: EqualCopies, parties: Parties = FILES) -> str:
    """Return that a copy of one side is the other's, though not by name."""
    return f"{parties.b}'s copy '{copies.b}' is the same as {_whose(parties.a, copies.a)}"


def of_which(diagnosis: "Diagnosis", comparison: Comparison) -> str:
    """Return which codec or copy a diagnosis is of; empty where only one was compared."""
    if len(comparison.pairs) < 2:
        return ""
    families = [pair.family for pair in comparison.pairs]
    return diagnosis.family if families.count(diagnosis.family) == 1 else diagnosis.copy


def _compared(pairs: Sequence[CopyPair], parties: Parties) -> list[str]:
    guessed = [
        f"{_names(pair, parties)} were compared, but other copies may belong together; --copy NAME chooses"
        for pair in pairs
        if pair.guessed
    ]
    if guessed or len(pairs) < 2:
        return guessed
    listed = ", ".join(f"{pair.name} {pair.verdict}" for pair in pairs)
    return [f"{len(pairs)} copies were compared by name: {listed}"]


def _names(pair: CopyPair, parties: Parties) -> str:
    return f"{_whose(parties.a, pair.a)} and {_whose(parties.b, pair.b)}"


def _whose(party: str, name: str) -> str:
    """Return whose copy it is; a lock of one copy has no name for it."""
    return f"{party}'s '{name}'" if name else f"{party}'s copy"
