"""What a run that could not check leaves to machines: a document in the format that its command line asks for."""

import contextlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from vqcheck.cli.output import CSV, GITHUB, HTML, TEXT, Output, output_of, output_options, write_summary
from vqcheck.cli.program import COMMANDS, program
from vqcheck.cli.terminal import is_first_process
from vqcheck.errors import VqcheckError

if TYPE_CHECKING:
    from vqcheck.report.document import Sheet


def report_failure(arguments: Sequence[str], message: str, path: str) -> None:
    """Write the document of a run that could not check to stdout, if the arguments ask for a machine format.

    `path` is the file that the message is about; empty where it is about none.

    A file named with `-o` stays as it was: the document goes to stdout all the same, unless `-q` silences that. On a
    terminal nobody wants it there, nor a page that only a file's name asked for.
    """
    if not any(each.startswith("-") and ("f" in each or "o" in each) for each in arguments):
        return  # nothing asks for a format or a file, and to find that out takes more than there may be left
    command, output = _wanted(arguments)
    if output.format == TEXT or not is_first_process():
        return
    if output.file is not None and (sys.stdout.isatty() or (output.by_ending and output.format == HTML)):
        return
    from vqcheck.report.views.failure import view

    document = view(command, message, path, _empty_sheet(command) if output.format == CSV else None)
    if output.format == GITHUB and output.file is None:
        with contextlib.suppress(VqcheckError):
            write_summary(document, None)
    Output(output.format, None, quiet=output.quiet, typed=arguments).write(document)


def _empty_sheet(command: str) -> "Sheet | None":
    """Return the table of a command that gives one of its own, without rows: who reads it finds its columns."""
    if command != "replay":
        return None
    from vqcheck.report.views.replay_data import sheet

    return sheet(())


def _wanted(arguments: Sequence[str]) -> tuple[str, Output]:
    """Return the command that a command line names, and the report it asks for, as far as it can be parsed."""
    place = next((place for place, each in enumerate(arguments) if each in COMMANDS), None)
    name = "vqcheck" if place is None else arguments[place]
    rest = [each for at, each in enumerate(arguments) if at != place]
    command: click.Command | None = None
    with contextlib.suppress(Exception):  # what keeps the command from being loaded may be what failed
        command = program.get_command(click.Context(program), name)
    context = (command or _any_command).make_context(
        name, rest, resilient_parsing=True, ignore_unknown_options=True, allow_extra_args=True
    )
    given = context.params
    return name, output_of(given.get("format_"), given.get("file"), quiet=bool(given.get("quiet")))


@click.command(add_help_option=False)
@output_options()
def _any_command(output: Output) -> None:
    """Stand in for a command that is not named, or that cannot be loaded, where only the report's options count."""
