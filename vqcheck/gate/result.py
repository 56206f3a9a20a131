"""What a gate's checks found. Plain data, which reports read."""

from dataclasses import dataclass
from typing import Final

from vqcheck.audit.judgement import COULD_NOT_CHECK, FAILED, PASSED, Judgement

OPEN: Final = "open"
CLOSED: Final = "closed"


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
        found = {outcome.finding.outcome for outcome in self.outcomes if outcome.required}
        if COULD_NOT_CHECK in found or not found & {PASSED, FAILED}:
            return 2
        return int(FAILED in found)

    @property
    def verdict(self) -> str:
        return {0: OPEN, 1: CLOSED}.get(self.exit_code, COULD_NOT_CHECK)
