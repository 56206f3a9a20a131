"""`vqcheck run -- COMMAND`: any training script unchanged, with its codebooks guarded, frozen or measured."""

import sys
from typing import Final

import click

from vqcheck.cli.help import Command
from vqcheck.cli.output import TEXT, Output, output_options

_EXAMPLES: Final = """
\b
Examples:
  vqcheck run -- python s2_train.py --config tmp_s2.json
  vqcheck run --freeze --every 100 -- python -s s2_train.py
  vqcheck run --monitor -o use.json -- torchrun --nproc-per-node 2 train.py
  vqcheck run --python venv/bin/python -- s2_train.py --config tmp_s2.json

Exit status: 0 nothing changed (or all was measured), 1 the VQ encoder changed, 2 the script itself failed, or its
codebooks were not seen.
"""


@click.command("run", cls=Command, epilog=_EXAMPLES, context_settings={"allow_interspersed_args": False})
@click.option("--guard", "mode", flag_value="guard", default="guard", help="End the script when a codebook changes.")
@click.option("--freeze", "mode", flag_value="freeze", help="Hold the codebooks still, and guard them.")
@click.option("--monitor", "mode", flag_value="monitor", help="Measure use and movement of the codebooks.")
@click.option("--warn", is_flag=True, help="Report a change, and let the script train on.")
@click.option(
    "--every", metavar="N", type=click.IntRange(min=1), default=20, show_default=True, help="Steps between two looks."
)
@click.option(
    "--python",
    metavar="PROGRAM",
    type=click.Path(readable=False),
    help="The Python that runs COMMAND, in the place of its own; vqcheck need not be installed there.",
)
@click.argument("script", metavar="-- COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@output_options()
def command(mode: str, warn: bool, every: int, python: str | None, script: tuple[str, ...], output: Output) -> int:
    """Run a training script unchanged, with its codebooks guarded, frozen or measured.

    The script, and every Python that it starts, is watched from outside: vqcheck need not be installed there. Modules
    are found by the names of their tensors, at their first forward in train mode. The ranks of one process group on
    this machine are compared. Where a report for machines goes to stdout, the script's own stdout goes to stderr.
    """
    from vqcheck.replay.run_command import run_command, with_python
    from vqcheck.replay.watched_run import RunMode
    from vqcheck.report.views.run import view

    document_on_stdout = output.format != TEXT and output.file is None and not output.quiet
    stdout = sys.stderr.fileno() if document_on_stdout else None
    script = with_python(script, python) if python else script
    return output.show(view(run_command(script, RunMode(mode), every, warn=warn, stdout=stdout)))
