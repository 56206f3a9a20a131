"""`vqcheck gate` for people: the verdict first, then every check."""

from typing import Final

from vqcheck.gate.outcome import CLOSED, COULD_NOT_CHECK, FAILED, OPEN, SKIPPED, GateReport
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
    skipped = sum(outcome.finding.outcome == SKIPPED for outcome in report.outcomes)
    partly = f", {len(report.outcomes) - skipped} of {len(report.outcomes)} checks asked for" if skipped else ""
    page.line((report.verdict, look), f"  {headline}  ({report.config}{partly})", indent=2)
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
    decisive = [
        outcome.code
        for kind in (FAILED, COULD_NOT_CHECK)
        for outcome in report.outcomes
        if outcome.required and outcome.finding.outcome == kind
    ]
    if decisive:
        page.blank()
        page.line(f"What to do: vqcheck gate --explain {decisive[0]}", indent=2)
    return page.text()
