"""`vqcheck check [PLACE]`: is my voice affected."""

from typing import Final

import click

from vqcheck.cli.help import Command
from vqcheck.cli.output import Output, output_options
from vqcheck.cli.remote import CheckpointPath, remote_option
from vqcheck.cli.terminal import Waiting
from vqcheck.language import tr

_EXAMPLES: Final = """
\b
Examples:
  vqcheck check
  vqcheck check logs/me
  vqcheck check SoVITS_weights_v2 --base s2G2333k.pth
  vqcheck check -o voices.html

Exit status: 0 fine, 1 a voice is affected, 2 a file cannot be read, or no base was compared with anything. What is
not there to be asked about is listed and does not count.
"""


@click.command("check", cls=Command, epilog=_EXAMPLES)
@click.argument("place", metavar="[PLACE]", default=".", type=CheckpointPath())
@click.option(
    "--base",
    "bases",
    metavar="CKPT",
    multiple=True,
    type=CheckpointPath(),
    help="The file that training started from; default: those of the GPT-SoVITS folder. Of several the nearest counts.",
)
@click.option(
    "--jobs", metavar="N", type=click.IntRange(min=1), help="Read N files at a time; default: one a processor."
)
@output_options(verbose="Show more: every file that was skipped.")
@remote_option
def command(place: str, bases: tuple[str, ...], jobs: int | None, output: Output) -> int:
    """Check every voice of a place: an experiment, a weights folder, a whole GPT-SoVITS folder, or a file.

    Finds base models, training files, exports, tokens, features, s1 files, locks and configurations by the layout of
    GPT-SoVITS, and asks every question that they can answer. PLACE is this folder where none is named.
    """
    from vqcheck.audit.check import check_place
    from vqcheck.experiment.place import find_place
    from vqcheck.report.views.check import view

    with Waiting(tr("reading checkpoints"), quiet=output.quiet) as waiting:
        result = check_place(find_place(place), bases, jobs, waiting.step)
    return output.show(view(result))
