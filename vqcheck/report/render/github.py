"""A document for GitHub Actions: annotations for the log, and Markdown for the step's summary page."""

from typing import Final

from vqcheck.checkpoint.remote.address import is_address
from vqcheck.report.document import Case, CaseOutcome, Document
from vqcheck.report.render import plain
from vqcheck.report.render.place import in_workspace

_ANNOTATIONS: Final = 10
"""Errors of one step that GitHub shows; it drops what comes after them."""
_ROWS: Final = 100
_ORDER: Final = (
    CaseOutcome.FAILED,
    CaseOutcome.COULD_NOT_CHECK,
    CaseOutcome.PASSED,
    CaseOutcome.NOT_APPLICABLE,
    CaseOutcome.SKIPPED,
)
_MARKUP: Final = {ord(char): f"&#{ord(char)};" for char in "&<>|`*_[]()#~@!\\\"':"}
"""Everything that Markdown or HTML could read as more than a character."""


def render(document: Document) -> str:
    """Return one line for the log and an annotation for each problem, the decisive ones first."""
    passed = sum(case.outcome is CaseOutcome.PASSED for case in document.cases)
    lines = [f"{document.title}: {document.verdict}, {passed} of {len(document.cases)} checks passed"]
    problems = [case for case in _ordered(document) if case.is_problem]
    shown = problems if len(problems) <= _ANNOTATIONS else problems[: _ANNOTATIONS - 1]
    lines += [_annotation(case, document) for case in shown]
    if len(shown) < len(problems):
        more = f"{len(problems) - len(shown)} more checks did not pass; the summary of this step lists them"
        lines.append(f"::error title={_property(document.title)}::{_data(more)}")
    return "\n".join(lines) + "\n"


def summary(document: Document) -> str:
    """Return the same as a table, with the checks that passed."""
    cases = _ordered(document)
    lines = [
        f"### {_cell(document.title)}: {_cell(document.verdict)}",
        "",
        f"**{_cell(document.headline)}**",
        "",
        "| outcome | check | found |",
        "|---|---|---|",
        *(_row(case) for case in cases[:_ROWS]),
        "",
    ]
    left_out = cases[_ROWS:]
    if left_out:
        counts = ", ".join(
            f"{found} {outcome.value}" for outcome in _ORDER if (found := sum(c.outcome is outcome for c in left_out))
        )
        lines += [f"And {len(left_out)} more: {counts}.", ""]
    return "\n".join(lines) + "\n"


def _ordered(document: Document) -> list[Case]:
    """Return the cases, those that decide first."""
    return sorted(document.cases, key=lambda case: (case.is_advice and case.is_problem, _ORDER.index(case.outcome)))


def _annotation(case: Case, document: Document) -> str:
    properties = [f"title={_property(f'{document.title}: {case.name}')}"]
    words = f"could not check: {case.whole}" if case.outcome is CaseOutcome.COULD_NOT_CHECK else case.whole
    path = in_workspace(case.path)
    if case.path and (path.is_absolute() or is_address(case.path)):
        # The runner knows files of the repository only; another one is named in words.
        place = f"{case.path}:{case.line}" if case.line else case.path
        words = words if case.path in words else f"{words} ({place})"
    elif case.path:
        line = [f"line={case.line}"] if case.line else []
        properties = [f"file={_property(path.as_posix())}", *line, *properties]
    return f"::{'warning' if case.is_advice else 'error'} {','.join(properties)}::{_data(words)}"


def _data(text: str) -> str:
    return plain(text).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _row(case: Case) -> str:
    advice = " (advice)" if case.is_advice and case.is_problem else ""
    return f"| {case.outcome.value}{advice} | {_cell(case.rule.id)}: {_cell(case.name)} | {_cell(case.message)} |"


def _cell(text: str) -> str:
    return plain(text).translate(_MARKUP)
