"""`vqcheck history DIR`: over the checkpoints of a run, when did the VQ encoder start to move."""

import os
from typing import Final

import click

from vqcheck.cli.help import Command
from vqcheck.cli.options import copy_option, family_option, name_unused, scope_option
from vqcheck.cli.output import Output, output_options
from vqcheck.cli.remote import CheckpointPath, remote_option
from vqcheck.cli.terminal import Waiting
from vqcheck.codebook.family import Family
from vqcheck.errors import UsageError
from vqcheck.language import listed, tr
from vqcheck.report.views.words import argument

_EXAMPLES: Final = """
\b
Examples:
  vqcheck history logs/me
  vqcheck history logs/me/logs_s2_v2 --base s2G2333k.pth
  vqcheck history SoVITS_weights_v2 -o drift.html

Exit status: 0 the same in all, 1 it moved, 2 nothing to compare a checkpoint with, or one cannot be read.
"""


@click.command("history", cls=Command, epilog=_EXAMPLES)
@click.argument("folder", metavar="DIR", type=click.Path(readable=False))
@click.option(
    "--base",
    metavar="CKPT",
    type=CheckpointPath(),
    help="The file that training started from; default: pretrained_s2G of the run's configuration, if it is there.",
)
@copy_option
@scope_option
@family_option
@output_options()
@remote_option
def command(folder: str, base: str | None, copy: str, scope: str, own: tuple[Family, ...], output: Output) -> int:
    """Show the VQ encoder of each checkpoint in a folder, in training order, and the first that moved.

    Each is judged against the base and against those before it. Exports of several voices are several runs. Files
    without a codebook (discriminators, s1 checkpoints) are named and skipped. Of an experiment with one s2 run, that
    is the folder that is meant.
    """
    from vqcheck.audit.history import read_history
    from vqcheck.report.views.history import view

    folder = _run_folder(folder)
    with Waiting(tr("reading checkpoints"), quiet=output.quiet) as waiting:
        history = read_history(folder, scope, waiting.step, own, base, copy)
    name_unused(own, tuple(run.family for run in history.runs))
    return output.show(view(history))


def _run_folder(named: str) -> str:
    """Return the folder that is meant: of an experiment with one s2 run, that of the run.

    Raises:
        UsageError: it is a file, or an experiment with several runs; the message has the command for what was meant.

    """
    from vqcheck.experiment.layout import holds_models, training_runs

    if os.path.isfile(named):
        folder = argument(os.path.dirname(named) or os.curdir)
        file = argument(named)
        raise UsageError(
            tr(
                "is a file; name the folder of the run's checkpoints: vqcheck history {folder} "
                "(vqcheck inspect {file} shows the file alone)",
                folder=folder,
                file=file,
            ),
            named,
        )
    runs = training_runs(named) if os.path.isdir(named) and not holds_models(named) else []
    if len(runs) > 1:
        commands = listed([f"vqcheck history {argument(run)}" for run in runs], last="or")
        raise UsageError(tr("holds several runs; name one of them: {commands}", commands=commands), named)
    return runs[0] if runs else named
