"""`vqcheck gate` for people: the verdict first, then every check."""

from typing import Final

from vqcheck.gate.outcome import CLOSED, FAILED, OPEN, GateReport
from vqcheck.report.text.page import Page, Style

_LOOKS: Final = {
    "passed": "green",
    "failed": "bold red",
    "could not check": "bold yellow",
    "not applicable": "dim",
    "skipped": "dim",
}
_HEADLINES: Final = {OPEN: "s2 training may start", CLOSED: "do not start s2 training"}


def table(report: GateReport, style: Style) -> str:
    """Return the report of a gate."""
    page = Page(style)
    look = {OPEN: "bold green", CLOSED: "bold red"}.get(report.verdict, "bold yellow")
    headline = _HEADLINES.get(report.verdict, "whether s2 training may start is not known")
    page.line((report.verdict, look), f"  {headline}  ({report.config})", indent=2)
    page.blank()
    width = max(len(outcome.code) for outcome in report.outcomes)
    for outcome in report.outcomes:
        finding = outcome.finding
        advisory = "" if outcome.required else " (advisory)"
        page.line(
            f"  {outcome.code:<{width}}  ",
            (f"{finding.outcome:<15}", _LOOKS[finding.outcome]),
            f"  {finding.message}{advisory}",
            indent=width + 21,
        )
    failed = [outcome.code for outcome in report.outcomes if outcome.finding.outcome == FAILED]
    if failed:
        page.blank()
        page.line(f"What to do: vqcheck gate --explain {failed[0]}", indent=2)
    return page.text()
