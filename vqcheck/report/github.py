"""A run for GitHub Actions: annotations for the log, and Markdown for the step's summary page."""

from typing import Final

from vqcheck.report.cases.case import COULD_NOT_CHECK, FAILED, NOT_APPLICABLE, PASSED, Case, Run
from vqcheck.report.plain import plain
from vqcheck.report.render.place import in_workspace

_ANNOTATIONS: Final = 10
"""Errors of one step that GitHub shows; it drops what comes after them."""
_ROWS: Final = 100
_ORDER: Final = (FAILED, COULD_NOT_CHECK, PASSED, NOT_APPLICABLE)
_MARKUP: Final = {ord(char): f"&#{ord(char)};" for char in "&<>|`*_[]()#~@!\\\"':"}
"""Everything that Markdown or HTML could read as more than a character."""


def document(run: Run) -> str:
    """Return one line for the log and an annotation for each problem, the decisive ones first."""
    passed = sum(case.outcome == PASSED for case in run.cases)
    lines = [f"{run.title}: {run.verdict}, {passed} of {len(run.cases)} checks passed"]
    problems = [case for case in _ordered(run) if case.is_problem]
    shown = problems if len(problems) <= _ANNOTATIONS else problems[: _ANNOTATIONS - 1]
    lines += [_annotation(case, run) for case in shown]
    if len(shown) < len(problems):
        more = f"{len(problems) - len(shown)} more checks did not pass; the summary of this step lists them"
        lines.append(f"::error title={_property(run.title)}::{_data(more)}")
    return "\n".join(lines) + "\n"


def summary(run: Run) -> str:
    """Return the same as a table, with the checks that passed."""
    cases = _ordered(run)
    lines = [
        f"### {_cell(run.title)}: {_cell(run.verdict)}",
        "",
        f"**{_cell(run.headline)}**",
        "",
        "| outcome | check | found |",
        "|---|---|---|",
        *(_row(case) for case in cases[:_ROWS]),
        "",
    ]
    left_out = cases[_ROWS:]
    if left_out:
        counts = ", ".join(
            f"{count} {outcome}" for outcome in _ORDER if (count := sum(case.outcome == outcome for case in left_out))
        )
        lines += [f"And {len(left_out)} more: {counts}.", ""]
    return "\n".join(lines) + "\n"


def _ordered(run: Run) -> list[Case]:
    """Return the cases, those that decide first."""
    return sorted(run.cases, key=lambda case: (case.advisory and case.is_problem, _ORDER.index(case.outcome)))


def _annotation(case: Case, run: Run) -> str:
    properties = [f"title={_property(f'{run.title}: {case.name}')}"]
    words = f"could not check: {case.message}" if case.outcome == COULD_NOT_CHECK else case.message
    path = in_workspace(case.path)
    if case.path and path.is_absolute():
        # The runner knows files of the repository only; another one is named in words.
        place = f"{case.path}:{case.line}" if case.line else case.path
        words = words if case.path in words else f"{words} ({place})"
    elif case.path:
        line = [f"line={case.line}"] if case.line else []
        properties = [f"file={_property(path.as_posix())}", *line, *properties]
    return f"::{'warning' if case.advisory else 'error'} {','.join(properties)}::{_data(words)}"


def _data(text: str) -> str:
    return plain(text).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _row(case: Case) -> str:
    advisory = " (advisory)" if case.advisory and case.is_problem else ""
    return f"| {case.outcome}{advisory} | {_cell(case.rule.id)}: {_cell(case.name)} | {_cell(case.message)} |"


def _cell(text: str) -> str:
    return plain(text).translate(_MARKUP)
