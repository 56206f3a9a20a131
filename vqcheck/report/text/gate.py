"""`vqcheck gate` for people: the verdict first, then every check."""

from typing import TYPE_CHECKING, Final

from vqcheck.gate.result import GateReport, GateVerdict
from vqcheck.report.text.page import Page, Style
from vqcheck.report.words import gate as words

if TYPE_CHECKING:
    from vqcheck.gate.checks import GateCheck

_LOOKS: Final = {
    "passed": "green",
    "failed": "bold red",
    "could not check": "bold yellow",
    "not applicable": "dim",
    "skipped": "dim",
}

_LEAST: Final = 36
"""Columns below which messages stand under their check instead of beside it."""


def table(report: GateReport, style: Style) -> str:
    """Return the report of a gate."""
    page = Page(style)
    look = {GateVerdict.OPEN: "bold green", GateVerdict.CLOSED: "bold red"}.get(report.verdict, "bold yellow")
    where = ", ".join(filter(None, (report.config, words.partly(report))))
    page.line((report.verdict, look), f"  {words.headline(report)}  ({where})", indent=2)
    page.blank()
    width = max(len(outcome.code) for outcome in report.outcomes)
    for outcome in report.outcomes:
        finding = outcome.finding
        advisory = "" if outcome.required else " (advisory)"
        name = f"  {outcome.code:<{width}}  ", (f"{finding.outcome:<15}", _LOOKS[finding.outcome])
        message = f"  {finding.message}{advisory}"
        indent = width + 21
        if page.width and page.width - indent < _LEAST:
            page.line(*name)
            page.line(" " * 2, message, indent=4)
        else:
            page.line(*name, message, indent=indent)
    decisive = words.decisive(report)
    if decisive:
        page.blank()
        page.line(f"What to do: vqcheck gate --explain {decisive[0]}", indent=2)
    return page.text()


def explained(check: "GateCheck", style: Style) -> str:
    """Return what a check asks, why, and what to do when it fails."""
    page = Page(style)
    page.prose(f"({'required' if check.required else 'advisory'}): {check.title}", (check.code, "bold"), " ", indent=2)
    page.blank()
    page.prose(check.why, indent=0)
    return page.text()
