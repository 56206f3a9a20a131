"""One check and what it came to, as the formats that are lists of checks see it."""

import hashlib
import os
from dataclasses import dataclass

from vqcheck.audit.judgement import CheckOutcome

__all__ = ["COULD_NOT_CHECK", "FAILED", "NOT_APPLICABLE", "PASSED", "Case", "Rule", "Run"]

PASSED: str = CheckOutcome.PASSED
FAILED: str = CheckOutcome.FAILED
COULD_NOT_CHECK: str = CheckOutcome.COULD_NOT_CHECK
NOT_APPLICABLE: str = CheckOutcome.NOT_APPLICABLE


@dataclass(frozen=True, slots=True)
class Rule:
    """What a case is an instance of. Ids are stable: other programs remember findings by them."""

    id: str
    """`command/fault`, such as `diff/codes-changed`."""
    title: str
    """What holds where the rule is kept."""
    help: str
    """What goes wrong where it is not, and what to do."""


@dataclass(frozen=True, slots=True)
class Case:
    """One check, carried out or not."""

    rule: Rule
    name: str
    """What was checked; the same in every run, and unique among the cases of its rule."""
    outcome: str
    """`passed`, `failed`, `could not check` or `not applicable`."""
    message: str
    path: str = ""
    """The file that it is about, as the user named it; empty where it is about none."""
    line: int = 0
    """The line in that file; 0 for the file as a whole."""
    advisory: bool = False
    """Whether it is only shown and does not count in the exit status."""

    @property
    def is_problem(self) -> bool:
        return self.outcome in (FAILED, COULD_NOT_CHECK)

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits that stay the same across runs, machines and moved lines."""
        identity = "\0".join((self.rule.id, self.name, os.path.basename(self.path)))
        return hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Run:
    """Everything that one run of a command checked.

    It has a case that failed if the exit status is 1, one that could not be checked if it is 2, and of those that count
    neither if it is 0.
    """

    command: str
    subject: str
    """What was checked: the files or the folder."""
    verdict: str
    exit_code: int
    headline: str
    """What it came to, in one sentence."""
    cases: tuple[Case, ...]

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules of the cases, each once."""
        return tuple({case.rule.id: case.rule for case in self.cases}.values())

    @property
    def title(self) -> str:
        return "vqcheck" if self.command == "vqcheck" else f"vqcheck {self.command}"
