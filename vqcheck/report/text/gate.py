"""`vqcheck gate` for people: the verdict first, then every check."""

from typing import Final

from vqcheck.gate.outcome import CLOSED, OPEN, GateReport
from vqcheck.report.text.page import Page, Style
from vqcheck.report.words import gate as words

_LOOKS: Final = {
    "passed": "green",
    "failed": "bold red",
    "could not check": "bold yellow",
    "not applicable": "dim",
    "skipped": "dim",
}


def table(report: GateReport, style: Style) -> str:
    """Return the report of a gate."""
    page = Page(style)
    look = {OPEN: "bold green", CLOSED: "bold red"}.get(report.verdict, "bold yellow")
    where = ", ".join(filter(None, (report.config, words.partly(report))))
    page.line((report.verdict, look), f"  {words.headline(report)}  ({where})", indent=2)
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
    decisive = words.decisive(report)
    if decisive:
        page.blank()
        page.line(f"What to do: vqcheck gate --explain {decisive[0]}", indent=2)
    return page.text()
