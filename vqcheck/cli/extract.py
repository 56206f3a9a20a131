"""`vqcheck extract CKPT -o FILE`: the VQ encoder alone."""

from typing import Final

import click

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.cli.help import Command
from vqcheck.cli.options import copy_option
from vqcheck.cli.output import Output, output_options
from vqcheck.cli.remote import CheckpointPath, remote_option
from vqcheck.cli.replace_file import check_target

_EXAMPLES: Final = """
\b
Examples:
  vqcheck extract s2G2333k.pth -o vq.safetensors
  vqcheck extract G_400.pth -o vq.safetensors --format json > vq.json

Exit status: 0 written, 2 not: the file holds no VQ encoder, or cannot be read or written.
"""


@click.command("extract", cls=Command, epilog=_EXAMPLES)
@click.argument("checkpoint", metavar="CKPT", type=CheckpointPath())
@click.option(
    "-o", "--output", "out", required=True, type=click.Path(dir_okay=False, readable=False), help="The new file."
)
@copy_option
@output_options(file=("--report",))
@remote_option
def command(checkpoint: str, out: str, copy: str, output: Output) -> int:
    """Write the VQ encoder of a checkpoint to a small safetensors file, which diff, lock and restore take.

    Values, types and names stay as they are. The metadata say which codec it is, what each tensor does, and its
    digests.
    """
    from vqcheck.report.views.restore import extracted
    from vqcheck.restore.take_out import take_out

    check_target(out, (checkpoint,))
    with open_checkpoint(checkpoint) as file:
        result = take_out(file, out, copy)
    return output.show(extracted(result))
