"""A gate as checks: one for each question it asks."""

from typing import Final

from vqcheck.audit.judgement import CheckOutcome
from vqcheck.gate.checks import find_check
from vqcheck.gate.result import CheckResult, GateReport
from vqcheck.report.cases.case import COULD_NOT_CHECK, NOT_APPLICABLE, Case, Rule, Run
from vqcheck.report.words.gate import headline, partly

_NOTHING: Final = Rule(
    "gate/nothing-checked",
    "at least one required check is carried out",
    "Every required check was skipped or does not apply, so the gate knows nothing of this run. Leave out fewer.",
)


def run(report: GateReport) -> Run:
    """Return the report of a gate as one case a check."""
    cases = [_check(outcome, report.config) for outcome in report.outcomes]
    if report.exit_code == 2 and not any(case.is_problem and not case.advisory for case in cases):
        message = "no required check was carried out"
        cases.append(Case(_NOTHING, "nothing checked", COULD_NOT_CHECK, message, report.config))
    asked = partly(report)
    said = f"{headline(report)} ({asked})" if asked else headline(report)
    return Run("gate", report.config, report.verdict, report.exit_code, said, tuple(cases))


def _check(outcome: CheckResult, config: str) -> Case:
    rule = Rule(f"gate/{outcome.code}", outcome.title, find_check(outcome.code).why)
    found = outcome.finding
    result = NOT_APPLICABLE if found.outcome == CheckOutcome.SKIPPED else found.outcome
    return Case(rule, outcome.code, result, found.message, config, advisory=not outcome.required)
