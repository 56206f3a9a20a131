"""`vqcheck restore BASE DRIFTED -o OUT`: put the base's VQ encoder back."""

from typing import Final

import click

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.cli.help import Command
from vqcheck.cli.options import copies_option
from vqcheck.cli.output import Output, output_options
from vqcheck.cli.replace_file import check_target
from vqcheck.cli.terminal import Waiting

_EXAMPLES: Final = """
\b
Examples:
  vqcheck restore s2G2333k.pth SoVITS_weights_v2/me_e8_s400.pth -o SoVITS_weights_v2/me_restored.pth
  vqcheck restore s2G2333k.pth G_400.pth -o G_restored.pth --only codebook
  vqcheck restore vq.safetensors me_e8_s400.pth -o restored.pth

Exit status: 0 written, 2 not: the two do not fit each other, or a file cannot be read or written.
"""


@click.command("restore", cls=Command, epilog=_EXAMPLES)
@click.argument("base", metavar="BASE", type=click.Path(readable=False))
@click.argument("drifted", metavar="DRIFTED", type=click.Path(readable=False))
@click.option(
    "-o", "--output", "out", required=True, type=click.Path(dir_okay=False, readable=False), help="The restored file."
)
@click.option("--only", "part", type=click.Choice(("codebook", "projection")), help="Put this part back alone.")
@copies_option
@output_options(file=("--report",))
def command(base: str, drifted: str, out: str, part: str | None, copies: tuple[str, ...], output: Output) -> int:
    """Write a copy of DRIFTED that has the VQ encoder of BASE, and is the same byte for byte elsewhere.

    GPT-SoVITS and torch load it as they load DRIFTED. Whether it sounds better is not measured: the decoder was
    trained with codes that moved, and gets those of BASE now.
    """
    from vqcheck.report.views.restore import restored
    from vqcheck.restore.put_back import put_back
    from vqcheck.restore.result import Part

    check_target(out, (base, drifted))
    with (
        open_checkpoint(base) as first,
        open_checkpoint(drifted) as second,
        Waiting("restoring", quiet=output.quiet),
    ):
        result = put_back(first, second, out, Part(part or "all"), copies)
    return output.show(restored(result))
