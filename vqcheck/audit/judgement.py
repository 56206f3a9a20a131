"""What one judgement over a planned training run came to. Plain data, which reports read."""

from dataclasses import dataclass
from typing import Final

PASSED: Final = "passed"
FAILED: Final = "failed"
COULD_NOT_CHECK: Final = "could not check"
NOT_APPLICABLE: Final = "not applicable"
SKIPPED: Final = "skipped"


@dataclass(frozen=True, slots=True)
class Judgement:
    """An outcome, and in one sentence why."""

    outcome: str
    message: str
    advisory: bool = False
    """Whether this judgement only advises, though the question could decide."""
