"""Where a report goes: stdout, or a file that is replaced only by a whole one; and the options that say so."""

import contextlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vqcheck.errors import UsageError

if TYPE_CHECKING:
    from vqcheck.report.text.page import Style

TEXT = "text"
JSON = "json"
CSV = "csv"

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Output:
    """How and where the user wants the report."""

    format: str
    file: str | None
    verbose: bool
    quiet: bool

    def style(self) -> "Style":
        """Return how a text report must look where it goes: colour and width of the terminal, if it is one."""
        from rich.console import detect_legacy_windows

        from vqcheck.report.text.page import Style

        terminal = self.file is None and sys.stdout.isatty()
        plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb" or detect_legacy_windows()
        width = os.get_terminal_size(sys.stdout.fileno()).columns if terminal else 0
        columns = os.environ.get("COLUMNS", "")
        return Style(
            color=terminal and not plain,
            width=int(columns) if columns.isdecimal() and terminal else width,
            verbose=self.verbose,
        )

    def write(self, report: str) -> None:
        """Write a finished report.

        Raises:
            UsageError: the file cannot be written; the old one is left as it was.

        """
        if self.file is not None:
            replace_file(self.file, report)
        elif not self.quiet:
            sys.stdout.write(report)
            sys.stdout.flush()


def output_options(command: _Command) -> _Command:
    """Add `--format`, `-o`, `-v`, `-q` and `--debug`, and pass them on as one `output`."""
    return output_options_with()(command)


def output_options_with(*more_formats: str) -> Callable[[_Command], _Command]:
    """Return a decorator that adds the same options, with further formats to choose from."""
    return lambda command: _with_options(command, [TEXT, JSON, *more_formats])


def print_options(command: _Command) -> _Command:
    """Add the same options without `-o`, for a command that writes a file of its own."""
    return _with_options(command, [TEXT, JSON], to_file=False)


def _with_options(command: _Command, formats: list[str], *, to_file: bool = True) -> _Command:
    from functools import wraps

    @click.option(
        "--format",
        "format_",
        type=click.Choice(formats),
        default=TEXT,
        show_default=True,
        help="Text for people, the others for machines.",
    )
    @click.option("-v", "--verbose", is_flag=True, help="Show more: full digests, the table of an equal pair.")
    @click.option("-q", "--quiet", is_flag=True, help="No report on stdout; the exit status says it all.")
    @click.option("--debug", is_flag=True, help="Show the traceback of an internal error.")
    @wraps(command)
    def with_output(
        *args: Any, format_: str, verbose: bool, quiet: bool, debug: bool, file: str | None = None, **kw: Any
    ) -> Any:
        del debug  # main() looks for it on the command line: it matters when parsing fails, too
        return command(*args, output=Output(format_, file, verbose, quiet), **kw)

    if not to_file:
        return with_output  # type: ignore[return-value]
    return click.option(  # type: ignore[return-value]
        "-o",
        "--output",
        "file",
        type=click.Path(dir_okay=False),
        help="Write the report to this file instead of stdout.",
    )(with_output)


def replace_file(path: str, report: str) -> None:
    """Write a text file under a temporary name beside it, then rename it. A link is followed, a device written to.

    Raises:
        UsageError: it cannot be written, or holds a checkpoint; an old file is left as it was.

    """
    import tempfile

    target = os.path.realpath(path)
    temporary = None
    try:
        if os.path.exists(target) and not os.path.isfile(target):
            with open(target, "w", encoding="utf-8", errors="backslashreplace") as stream:
                stream.write(report)
            return
        if _holds_a_checkpoint(target):
            raise UsageError(f"{path}: is a checkpoint; the output must go to another file")
        handle, temporary = tempfile.mkstemp(
            prefix=f".{os.path.basename(target)}.", suffix=".tmp", dir=os.path.dirname(target)
        )
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as stream:
            stream.write(report)
        if os.path.exists(target):
            os.chmod(temporary, os.stat(target).st_mode)
        else:
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, target)
        temporary = None
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _holds_a_checkpoint(path: str) -> bool:
    """Say whether a file begins as checkpoints begin: a slip of the command line must not cost a model."""
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        head = file.read(9)
    return head[2:4] == b"\x03\x04" or head[:1] == b"\x80" or head[8:9] == b"{"
