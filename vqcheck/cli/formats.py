"""Which module writes which format; a module is imported when its format is asked for."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

TEXT: Final = "text"
JSON: Final = "json"
CSV: Final = "csv"
JUNIT: Final = "junit"
SARIF: Final = "sarif"
GITHUB: Final = "github"
HTML: Final = "html"

PLAIN: Final = (TEXT, JSON)
"""The formats of commands that describe a file instead of judging something."""
EVERY: Final = (*PLAIN, JUNIT, SARIF, GITHUB, HTML)


def document(form: str, kind: str, *result: Any) -> str:
    """Return the document of one result in a machine format.

    `kind` names the result: the command, or `stages` for an s1 checkpoint against an s2 generator.
    """
    return _DOCUMENT[form](form, kind, *result)


def rendered(form: str, document: Any) -> str:
    """Return a document in a machine format."""
    if form == HTML:
        from vqcheck.report.render.html.page import render

        return render(document)
    return str(import_module(f"vqcheck.report.render.{form}").render(document))


def failed(form: str, command: str, message: str, path: str) -> str:
    """Return the document of a run that could not check; `path` is the file that the message is about, if one is."""
    return _FAILED[form](form, command, message, path)


def summary(kind: str, *result: Any) -> str:
    """Return the Markdown that stands beside the annotations of the format `github`."""
    return str(_of(GITHUB).summary(_run(kind, *result)))


def failed_summary(command: str, message: str, path: str) -> str:
    """Return the Markdown of a run that could not check."""
    return str(_of(GITHUB).summary(_failed_run(command, message, path)))


def _of(form: str, kind: str = "") -> Any:
    return import_module(f"vqcheck.report.{form}.{kind}" if kind else f"vqcheck.report.{form}")


def _run(kind: str, *result: Any) -> Any:
    return _of("cases", kind).run(*result)


def _failed_run(command: str, message: str, path: str) -> Any:
    return _of("cases", "failed").run(command, message, path)


_Document = Callable[..., str]

_DOCUMENT: Final[dict[str, _Document]] = {
    form: lambda form, kind, *result: _of(form, kind).document(*result) for form in (JSON, CSV, HTML)
} | {form: lambda form, kind, *result: _of(form).document(_run(kind, *result)) for form in (JUNIT, SARIF, GITHUB)}

_FAILED: Final[dict[str, _Document]] = {
    form: lambda form, command, message, _: _of(form, "failed").document(command, message) for form in (JSON, CSV, HTML)
} | {
    form: lambda form, command, message, path: _of(form).document(_failed_run(command, message, path))
    for form in (JUNIT, SARIF, GITHUB)
}

MACHINE: Final = tuple(_DOCUMENT)
