"""What judgements came to: those over a planned training run, and that on an s1 checkpoint and an s2 generator.

Plain data, which reports read.
"""

from dataclasses import dataclass

from vqcheck.audit.token_audit_result import TokenAudit
from vqcheck.audit.token_decision import TokenDecision
from vqcheck.word_enum import VerdictEnum, WordEnum


class CheckOutcome(WordEnum):
    """What became of one question."""

    PASSED = "passed"
    FAILED = "failed"
    COULD_NOT_CHECK = "could not check"
    NOT_APPLICABLE = "not applicable"
    SKIPPED = "skipped"


def outcome_of(exit_code: int) -> CheckOutcome:
    """Return what became of a question that a result with this exit status answers."""
    return (CheckOutcome.PASSED, CheckOutcome.FAILED, CheckOutcome.COULD_NOT_CHECK)[exit_code]


@dataclass(frozen=True, slots=True)
class Judgement:
    """An outcome, and in one sentence why."""

    outcome: CheckOutcome
    message: str
    advisory: bool = False
    """Whether this judgement only advises, though the question could decide."""
    fix: str = ""
    """What to do in this very case; empty where what helps against every such finding does."""


def passed(message: str) -> Judgement:
    return Judgement(CheckOutcome.PASSED, message)


def failed(message: str, *, advisory: bool = False, fix: str = "") -> Judgement:
    return Judgement(CheckOutcome.FAILED, message, advisory, fix)


def could_not_check(message: str, *, advisory: bool = False) -> Judgement:
    return Judgement(CheckOutcome.COULD_NOT_CHECK, message, advisory)


def not_applicable(message: str, *, fix: str = "") -> Judgement:
    return Judgement(CheckOutcome.NOT_APPLICABLE, message, fix=fix)


class StageVerdict(VerdictEnum):
    CONSISTENT = "consistent", 0
    INCONSISTENT = "inconsistent", 1
    COULD_NOT_CHECK = "could not check", 2


@dataclass(frozen=True, slots=True)
class StageComparison:
    """Whether an s1 checkpoint and an s2 generator belong together, by a lock or by the tokens that s1 names."""

    s1: str
    s2: str
    verdict: StageVerdict
    lock: str = ""
    """The lock that decided; empty where tokens did."""
    binds_s1: bool = False
    """The lock is bound to an s1 checkpoint by content; else s1 names its tokens by their path alone."""
    other_s1: bool = False
    """It is bound to another s1 checkpoint, so that nothing was learned of these two."""
    tokens: TokenAudit | None = None
    """The tokens that s1 names, checked against the generator; None where a lock decided."""

    decision: TokenDecision | None = None
    """What decided beside the tokens, where another VQ encoder explains them, too"""
    named_tokens: str = ""
    """The tokens that s1 names, where the user named a directory of another name; what is in that one decides"""
    exported: str | None = None
    """The weights exported at the step of s2, where it is a training file and somebody looked for them"""

    @property
    def evidence(self) -> str:
        """`lock`, `tokens` or empty."""
        return "lock" if self.lock else "tokens" if self.tokens else ""

    @property
    def exit_code(self) -> int:
        return self.verdict.exit_code
