"""Which copies of two files were compared, and what is to be said of the others, in words."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from vqcheck.codebook.comparison import (
    IDENTICAL,
    NO_PARTNER,
    NOISE,
    UNREADABLE,
    WITHIN_ULPS,
    Comparison,
    CopyPair,
    EqualCopies,
    LoneCopy,
)

if TYPE_CHECKING:
    from vqcheck.codebook.diagnosis.result import Diagnosis

STANDING: Final = {
    IDENTICAL: "is the same as",
    WITHIN_ULPS: "gives the same values to the last places as",
    NOISE: "is the same as far as averaging noise goes (a few last places off) as",
}
"""How a copy that agrees stands to another one of its file."""


def told(comparison: Comparison) -> list[str]:
    """Return what is to be said of copies, a sentence each; nothing where each file holds one alone."""
    return [
        *_compared(comparison.pairs),
        *(equal(each) for each in comparison.equal),
        *(lone(each) for each in comparison.lone),
    ]


def undecided(comparison: Comparison) -> str:
    """Return why what was compared does not settle the question, in one sentence without its full stop."""
    if comparison.undecided:
        first, *more = comparison.undecided
        others = f" (and {len(more)} more)" if more else ""
        return f"What was compared agrees, but {lone(first)}{others}"
    first_pair = next(pair for pair in comparison.pairs if pair.guessed)
    return (
        f"Which copies belong together cannot be told: {_names(first_pair)} differ, others agree; "
        "--copy A_NAME --copy B_NAME chooses"
    )


def lone(copy: LoneCopy) -> str:
    """Return how a copy stands that has no partner."""
    other = "B" if copy.side == "A" else "A"
    whose = f"{copy.side}'s copy '{copy.name}'"
    if copy.verdict == UNREADABLE:
        return f"{whose} cannot be read ({copy.why}); --copy chooses another"
    if copy.verdict == NO_PARTNER:
        return f"{whose} is of a codec ({copy.family}) that {other} does not hold; --copy leaves it out"
    if copy.agrees:
        return f"{whose} {STANDING[copy.verdict]} its '{copy.judged}'"
    return (
        f"{whose} is not the same as its '{copy.judged}', and no copy of {other} answers to it; "
        "--copy chooses the one to judge"
    )


def equal(copies: EqualCopies) -> str:
    return f"B's copy '{copies.b}' is A's '{copies.a}'"


def of_which(diagnosis: "Diagnosis", comparison: Comparison) -> str:
    """Return which codec or copy a diagnosis is of; empty where only one was compared."""
    if len(comparison.pairs) < 2:
        return ""
    families = [pair.family for pair in comparison.pairs]
    return diagnosis.family if families.count(diagnosis.family) == 1 else diagnosis.copy


def _compared(pairs: Sequence[CopyPair]) -> list[str]:
    guessed = [
        f"{_names(pair)} were compared, but others could as well belong together; --copy A_NAME --copy B_NAME chooses"
        for pair in pairs
        if pair.guessed
    ]
    if guessed or len(pairs) < 2:
        return guessed
    listed = ", ".join(f"{pair.name} {pair.verdict}" for pair in pairs)
    return [f"{len(pairs)} copies compared by name: {listed}"]


def _names(pair: CopyPair) -> str:
    return f"A's copy '{pair.a}' and B's '{pair.b}'"
