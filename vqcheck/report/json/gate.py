"""`vqcheck gate` for machines."""

from vqcheck.gate.result import GateReport
from vqcheck.report.json.document import dump


def document(report: GateReport) -> str:
    """Return the report of a gate as one JSON document."""
    return dump(
        "gate",
        report.verdict,
        report.exit_code,
        config=report.config,
        checks=[
            {
                "code": outcome.code,
                "title": outcome.title,
                "required": outcome.required,
                "outcome": outcome.finding.outcome,
                "message": outcome.finding.message,
            }
            for outcome in report.outcomes
        ],
    )
