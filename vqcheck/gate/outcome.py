"""What a gate's checks found. Plain data, which reports read."""

from dataclasses import dataclass
from typing import Final

PASSED: Final = "passed"
FAILED: Final = "failed"
COULD_NOT_CHECK: Final = "could not check"
NOT_APPLICABLE: Final = "not applicable"
SKIPPED: Final = "skipped"

OPEN: Final = "open"
CLOSED: Final = "closed"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check came to: an outcome, and in one sentence why."""

    outcome: str
    message: str
    advisory: bool = False
    """Whether this finding only advises, though the check could decide."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One check of the gate and what it found."""

    code: str
    title: str
    required: bool
    """A required check decides the gate; an advisory one is only shown."""
    finding: Finding


@dataclass(frozen=True, slots=True)
class GateReport:
    """All checks of one run of the gate."""

    config: str
    outcomes: tuple[Outcome, ...]

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
