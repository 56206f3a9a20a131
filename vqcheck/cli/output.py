"""Where a report goes, in which format: stdout, or a file that is replaced only by a whole one; and its options."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from vqcheck.cli.help import LANG_HELP
from vqcheck.cli.replace_file import add_to_file, check_target, replace_file
from vqcheck.cli.terminal import can_draw, tell, wants_color
from vqcheck.errors import UsageError
from vqcheck.language import languages, tr
from vqcheck.quick_dataclass import quick_dataclass

if TYPE_CHECKING:
    from vqcheck.report.document import Document
    from vqcheck.report.render.text import Style

TEXT: Final = "text"
JSON: Final = "json"
JUNIT: Final = "junit"
SARIF: Final = "sarif"
GITHUB: Final = "github"
HTML: Final = "html"
CSV: Final = "csv"
FORMATS: Final = (TEXT, JSON, JUNIT, SARIF, GITHUB, HTML, CSV)
_ENDINGS: Final = {
    ".json": JSON,
    ".html": HTML,
    ".htm": HTML,
    ".xml": JUNIT,
    ".sarif": SARIF,
    ".csv": CSV,
    ".md": GITHUB,
}
STDOUT: Final = "-"

_Command = TypeVar("_Command", bound=Callable[..., Any])


@quick_dataclass(frozen=True, slots=True)
class Output:
    """How and where the user wants the report."""

    format: str = TEXT
    file: str | None = None
    verbose: bool = False
    quiet: bool = False
    by_ending: bool = False
    """Whether the file's name alone says the format: nothing of it is wanted on stdout then."""
    typed: Sequence[str] = ()
    """The arguments of the command line."""

    def show(self, document: "Document") -> int:
        """Write a document in the format that the user wants, and return its exit status.

        Raises:
            UsageError: a file cannot be written; the old one is left as it was.

        """
        if self.format == GITHUB:
            # Annotations count only where the runner reads them, so a file gets what stands beside them.
            write_summary(document, self.file)
        self.write(document)
        if self.file is not None:
            self.announce(document)
        return document.exit_code

    def announce(self, document: "Document") -> None:
        """Say on stderr what a report in a file comes to, and where it is."""
        if self.quiet:
            return
        tell(tr("{verdict}  {headline}", verdict=document.verdict_word, headline=document.brief or document.headline))
        if self.file is not None and os.path.isfile(self.file):
            tell(tr("The report is in {file}", file=self.file))

    def write(self, document: "Document") -> None:
        """Write a document without what stands beside it."""
        rendered = self._rendered(document)
        if self.file is not None and self.format != GITHUB:
            replace_file(self.file, rendered)
        elif not self.quiet and not self.by_ending:
            if self.format != TEXT:
                _speak_utf_8()
            sys.stdout.write(rendered)
            sys.stdout.flush()

    def _rendered(self, document: "Document") -> str:
        match self.format:
            case "json":
                from vqcheck.report.render.json import render
            case "junit":
                from vqcheck.report.render.junit import render
            case "sarif":
                from vqcheck.report.render.sarif import render
            case "github":
                from vqcheck.report.render.github import render
            case "html":
                from vqcheck.report.render.html import render

                document = replace(document, made_by=_command_line(self.typed))
            case "csv":
                from vqcheck.report.render.csv import render
            case _:
                from vqcheck.report.render import text

                return text.render(document, self.style())
        return render(document)

    def style(self) -> "Style":
        """Return how a text report must look where it goes: colour and width of the terminal, if it is one."""
        from vqcheck.report.render.text import Style

        to_terminal = self.file is None and sys.stdout.isatty()
        if not to_terminal:
            encoding = "utf-8" if self.file is not None else getattr(sys.stdout, "encoding", None) or "utf-8"
            return Style(verbose=self.verbose, encoding=encoding)
        from rich.console import detect_legacy_windows

        columns = os.environ.get("COLUMNS", "")
        width = int(columns) if columns.isdecimal() else os.get_terminal_size(sys.stdout.fileno()).columns
        color = can_draw(sys.stdout) and wants_color() and not detect_legacy_windows()
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        return Style(color, width, self.verbose, signs=True, encoding=encoding)


def _command_line(typed: Sequence[str]) -> str:
    """Return what was typed, as a shell of this system takes it; empty where it is not known."""
    if not typed:
        return ""
    import shlex
    import subprocess

    from vqcheck.sanitize import without_credentials

    quoted = subprocess.list2cmdline(typed) if os.name == "nt" else shlex.join(typed)
    return without_credentials(f"vqcheck {quoted}")


def _speak_utf_8() -> None:
    """Write documents for machines to stdout in UTF-8, whatever people read in this console."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure:
        reconfigure(encoding="utf-8", errors="backslashreplace")


def write_summary(document: "Document", file: str | None) -> None:
    """Write the Markdown beside annotations to a file, or to the step's summary page where a workflow is running."""
    from vqcheck.report.render.github import summary

    page = os.environ.get("GITHUB_STEP_SUMMARY")
    if file is not None:
        replace_file(file, summary(document))
    elif page:
        try:
            add_to_file(page, summary(document))
        except OSError as error:
            raise UsageError(
                tr("{page}: the step summary cannot be written: {strerror}", page=page, strerror=error.strerror)
            ) from None


def output_of(format_: str | None, file: str | None, *, quiet: bool, verbose: bool = False) -> Output:
    """Return where a report goes and in which format: the one that is named, else by the ending of the file."""
    if file is None or file == STDOUT:
        return Output(format_ or TEXT, None, verbose, quiet)
    by_ending = _ENDINGS.get(os.path.splitext(file)[1].lower(), TEXT)
    return Output(format_ or by_ending, file, verbose, quiet, by_ending=format_ is None)


def _values(given: Iterable[object]) -> Iterator[object]:
    """Yield what a command was given, value by value: some options may be repeated."""
    for value in given:
        yield from value if isinstance(value, tuple) else (value,)


def output_options(
    *, verbose: str | None = None, file: Sequence[str] = ("-o", "--output")
) -> Callable[[_Command], _Command]:
    """Return a decorator that adds `--format`, `-o`, `-q` and `--debug`, and passes them on as one `output`.

    `verbose` says what `-v` shows; without it the command has no `-v`. `file` names the option for the report's file:
    `-o` is taken where a command makes a file of its own.
    """
    return lambda command: _with_options(command, verbose, file)


def _with_options(command: _Command, verbose: str | None, file_option: Sequence[str]) -> _Command:
    from functools import wraps

    @click.option(
        "--format",
        "format_",
        type=click.Choice(FORMATS),
        metavar="FORMAT",
        help=f"One of {', '.join(FORMATS)}; default: by the ending of the file, else text.",
    )
    @click.option("-q", "--quiet", is_flag=True, help="No report on stdout; the exit status says it all.")
    @click.option("--lang", type=click.Choice(languages()), help=LANG_HELP)
    @click.option("--debug", is_flag=True, help="Show the traceback of an internal error.")
    @click.option(
        *file_option,
        "file",
        type=click.Path(dir_okay=False, readable=False),
        help="Write the report to this file instead of stdout, in the format of its ending: .json, .html, .xml "
        "(junit), .sarif, .csv, .md (the summary table of github), any other is text.",
    )
    @wraps(command)
    def with_output(
        *args: Any,
        format_: str | None,
        quiet: bool,
        lang: str | None,
        debug: bool,
        file: str | None = None,
        in_full: bool = False,
        **kw: Any,
    ) -> Any:
        del debug, lang  # main() looks for them on the command line: they matter when parsing fails, too
        output = output_of(format_, file, quiet=quiet, verbose=in_full)
        if output.file is not None:
            check_target(output.file, _values(kw.values()))
        output = replace(output, typed=click.get_current_context().find_root().obj or ())
        return command(*args, output=output, **kw)

    if verbose:
        return click.option("-v", "--verbose", "in_full", is_flag=True, help=verbose)(with_output)  # type: ignore[return-value]
    return with_output  # type: ignore[return-value]
