"""The report of a run that could not check: a machine format is a valid document then, too."""

import contextlib
from collections.abc import Sequence

from vqcheck.cli import formats
from vqcheck.cli.asked import asked
from vqcheck.cli.first_process import is_first_process
from vqcheck.cli.output import print_document
from vqcheck.cli.step_summary import write_summary
from vqcheck.errors import VqcheckError


def report_failure(arguments: Sequence[str], commands: Sequence[str], message: str) -> None:
    """Write the document of a failed run to stdout, if a machine format was asked for.

    A file named with `-o` stays as it was: the document goes to stdout all the same, unless `-q` silences that.
    """
    run = asked(arguments, commands)
    if run.format == formats.TEXT or not is_first_process():
        return
    # Messages name their file first, as it was given.
    path = next((each for each in arguments if message.startswith(f"{each}: ")), "")
    print_document(formats.failed(run.format, run.command, message, path), quiet=run.quiet)
    if run.format == formats.GITHUB and not run.to_file:
        with contextlib.suppress(VqcheckError):
            write_summary(formats.failed_summary(run.command, message, path), None)
