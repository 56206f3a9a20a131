"""What a gate's checks found. Plain data, which reports read."""

from dataclasses import dataclass
from enum import Enum

from vqcheck.audit.judgement import CheckOutcome, Judgement


class GateVerdict(str, Enum):
    OPEN = "open"
    CLOSED = "closed"
    COULD_NOT_CHECK = "could not check"

    __str__ = str.__str__


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check of the gate and what it found."""

    code: str
    title: str
    required: bool
    """A required check decides the gate; an advisory one is only shown."""
    finding: Judgement


@dataclass(frozen=True, slots=True)
class GateReport:
    """All checks of one run of the gate."""

    config: str
    outcomes: tuple[CheckResult, ...]

    @property
    def exit_code(self) -> int:
        """2 beats 1 beats 0, over the required checks; 2 when none of them was carried out."""
        found = {check.finding.outcome for check in self.outcomes if check.required}
        if CheckOutcome.COULD_NOT_CHECK in found or not found & {CheckOutcome.PASSED, CheckOutcome.FAILED}:
            return 2
        return int(CheckOutcome.FAILED in found)

    @property
    def verdict(self) -> GateVerdict:
        return (GateVerdict.OPEN, GateVerdict.CLOSED, GateVerdict.COULD_NOT_CHECK)[self.exit_code]
