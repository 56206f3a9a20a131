"""The verdict of a gate, in words."""

from typing import Final

from vqcheck.audit.judgement import CheckOutcome
from vqcheck.gate.result import GateReport, GateVerdict

_HEADLINES: Final = {GateVerdict.OPEN: "s2 training may start", GateVerdict.CLOSED: "do not start s2 training"}


def headline(report: GateReport) -> str:
    """Return whether training may start, in words without a full stop."""
    return _HEADLINES.get(report.verdict, "whether s2 training may start is not known")


def partly(report: GateReport) -> str:
    """Return how many checks were asked for; empty where all were."""
    skipped = sum(outcome.finding.outcome == CheckOutcome.SKIPPED for outcome in report.outcomes)
    return f"{len(report.outcomes) - skipped} of {len(report.outcomes)} checks asked for" if skipped else ""


def decisive(report: GateReport) -> list[str]:
    """Return the codes of the required checks that keep the gate from opening, failed ones first."""
    return [
        outcome.code
        for kind in (CheckOutcome.FAILED, CheckOutcome.COULD_NOT_CHECK)
        for outcome in report.outcomes
        if outcome.required and outcome.finding.outcome == kind
    ]
