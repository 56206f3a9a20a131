"""Where a report goes: stdout, or a file that is replaced only by a whole one; and the options that say so."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from vqcheck.cli import formats
from vqcheck.cli.replace_file import check_target, replace_file
from vqcheck.cli.step_summary import write_summary
from vqcheck.cli.terminal import can_draw, wants_color

if TYPE_CHECKING:
    from vqcheck.report.document import Document
    from vqcheck.report.text.page import Style

_FILE_HELP: Final = "Write the report to this file instead of stdout."
_GITHUB_HELP: Final = "With github the file gets the summary table, and stdout the annotations as ever."
_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Output:
    """How and where the user wants the report."""

    format: str
    file: str | None
    verbose: bool
    quiet: bool

    @property
    def width(self) -> int:
        """Columns of the terminal that the report goes to; 0 where it goes to none."""
        if self.file is not None or not sys.stdout.isatty():
            return 0
        columns = os.environ.get("COLUMNS", "")
        return int(columns) if columns.isdecimal() else os.get_terminal_size(sys.stdout.fileno()).columns

    @property
    def encoding(self) -> str:
        """What the report can be written in; files are UTF-8."""
        return "utf-8" if self.file is not None else getattr(sys.stdout, "encoding", None) or "utf-8"

    def style(self) -> "Style":
        """Return how a text report must look where it goes: colour and width of the terminal, if it is one."""
        from rich.console import detect_legacy_windows

        from vqcheck.report.text.page import Style

        color = self.file is None and can_draw(sys.stdout) and wants_color() and not detect_legacy_windows()
        return Style(color=color, width=self.width, verbose=self.verbose, encoding=self.encoding)

    def show(self, kind: str, *result: Any, text: Callable[..., str]) -> None:
        """Write the report on a result in the format that was asked for.

        `kind` names the report's module in every format; `text` makes the report for people, of the result and this
        output.

        Raises:
            UsageError: a file cannot be written; the old one is left as it was.

        """
        if self.format == formats.TEXT:
            self.write(text(*result, self))
            return
        document, file = formats.document(self.format, kind, *result), self.file
        if self.format == formats.GITHUB:
            # Annotations count only where the runner reads them, so a file gets what stands beside them.
            write_summary(formats.summary(kind, *result), file)
            file = None
        if file is not None:
            replace_file(file, document)
        else:
            print_document(document, quiet=self.quiet)

    def report(self, document: "Document") -> None:
        """Write a document in the format that was asked for.

        Raises:
            UsageError: a file cannot be written; the old one is left as it was.

        """
        if self.format == formats.TEXT:
            from vqcheck.report.render.text import Style, render

            style = self.style()
            self.write(render(document, Style(style.color, style.width, style.verbose, style.encoding)))
            return
        file = self.file
        if self.format == formats.GITHUB:
            from vqcheck.report.render.github import summary

            write_summary(summary(document), file)
            file = None
        rendered = formats.rendered(self.format, document)
        if file is not None:
            replace_file(file, rendered)
        else:
            print_document(rendered, quiet=self.quiet)

    def write(self, report: str) -> None:
        """Write a finished text.

        Raises:
            UsageError: the file cannot be written; the old one is left as it was.

        """
        if self.file is not None:
            replace_file(self.file, report)
        elif not self.quiet:
            sys.stdout.write(report)
            sys.stdout.flush()


def print_document(document: str, *, quiet: bool) -> None:
    """Write a document for machines to stdout: in UTF-8, whatever people read in this console."""
    if quiet:
        return
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure:
        reconfigure(encoding="utf-8", errors="backslashreplace")
    sys.stdout.write(document)
    sys.stdout.flush()


def _each(values: Iterable[object]) -> Iterator[object]:
    """Yield what a command was given, value by value: some options may be repeated."""
    for value in values:
        yield from value if isinstance(value, tuple) else (value,)


def output_options(
    choices: Sequence[str] = formats.EVERY, *, verbose: str | None = None, to_file: bool = True
) -> Callable[[_Command], _Command]:
    """Return a decorator that adds `--format`, `-o`, `-q` and `--debug`, and passes them on as one `output`.

    `verbose` says what `-v` shows; without it the command has no `-v`. A command that writes a file of its own has
    no `-o` for a report.
    """
    return lambda command: _with_options(command, choices, verbose, to_file=to_file)


def _with_options(command: _Command, choices: Sequence[str], verbose: str | None, *, to_file: bool) -> _Command:
    from functools import wraps

    @click.option(
        "--format",
        "format_",
        type=click.Choice(choices),
        default=formats.TEXT,
        show_default=True,
        metavar="FORMAT",
        help=f"One of {', '.join(choices)}.",
    )
    @click.option("-q", "--quiet", is_flag=True, help="No report on stdout; the exit status says it all.")
    @click.option("--debug", is_flag=True, help="Show the traceback of an internal error.")
    @wraps(command)
    def with_output(
        *args: Any,
        format_: str,
        quiet: bool,
        debug: bool,
        file: str | None = None,
        in_full: bool = False,
        **kw: Any,
    ) -> Any:
        del debug  # main() looks for it on the command line: it matters when parsing fails, too
        if file is not None:
            check_target(file, _each(kw.values()))
        return command(*args, output=Output(format_, file, in_full, quiet), **kw)

    whole: Any = with_output
    if verbose:
        whole = click.option("-v", "--verbose", "in_full", is_flag=True, help=verbose)(whole)
    if to_file:
        words = f"{_FILE_HELP} {_GITHUB_HELP}" if formats.GITHUB in choices else _FILE_HELP
        whole = click.option("-o", "--output", "file", type=click.Path(dir_okay=False, readable=False), help=words)(
            whole
        )
    return whole  # type: ignore[no-any-return]
