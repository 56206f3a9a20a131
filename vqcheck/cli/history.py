"""`vqcheck history DIR`: over the checkpoints of a run, when did the VQ encoder start to move."""

from typing import Final

import click

from vqcheck.cli.help import Command
from vqcheck.cli.options import copy_option, family_option, name_unused, scope_option
from vqcheck.cli.output import Output, output_options
from vqcheck.cli.terminal import Waiting
from vqcheck.codebook.family import Family

_EXAMPLES: Final = """
\b
Examples:
  vqcheck history logs/me/logs_s2_v2
  vqcheck history logs/me/logs_s2_v2 --base s2G2333k.pth
  vqcheck history SoVITS_weights_v2 --format html -o drift.html

Exit status: 0 the same in all, 1 it moved, 2 nothing to compare a checkpoint with, or one cannot be read.
"""


@click.command("history", cls=Command, epilog=_EXAMPLES)
@click.argument("folder", metavar="DIR", type=click.Path(readable=False))
@click.option(
    "--base",
    metavar="CKPT",
    type=click.Path(readable=False),
    help="The file that training started from; default: pretrained_s2G of the run's configuration, if it is there.",
)
@copy_option
@scope_option
@family_option
@output_options()
def command(folder: str, base: str | None, copy: str, scope: str, own: tuple[Family, ...], output: Output) -> int:
    """Show the VQ encoder of each checkpoint in a folder, in training order, and the first that moved.

    Each is judged against the base and against those before it. Exports of several voices are several runs. Files
    without a codebook (discriminators, s1 checkpoints) are named and skipped.
    """
    from vqcheck.audit.history import read_history
    from vqcheck.report.views.history import view

    with Waiting("reading checkpoints", quiet=output.quiet) as waiting:
        history = read_history(folder, scope, waiting.step, own, base, copy)
    name_unused(own, tuple(run.family for run in history.runs))
    return output.show(view(history))
