"""`vqcheck restore BASE DRIFTED -o OUT`: put the base's VQ encoder back."""

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import click

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.cli.help import Command
from vqcheck.cli.options import copies_option
from vqcheck.cli.output import Output, output_options
from vqcheck.cli.remote import CheckpointPath, remote_option
from vqcheck.cli.replace_file import check_target
from vqcheck.cli.terminal import Waiting
from vqcheck.errors import UsageError
from vqcheck.language import tr

if TYPE_CHECKING:
    from vqcheck.checkpoint.opened import Checkpoint
    from vqcheck.restore.measure import Measuring

_EXAMPLES: Final = """
\b
Examples:
  vqcheck restore s2G2333k.pth me_e8_s400.pth -o me_restored.pth
  vqcheck restore s2G2333k.pth G_400.pth -o G_restored.pth --only codebook
  vqcheck restore vq.safetensors me_e8_s400.pth -o restored.pth
  vqcheck restore s2G2333k.pth me_e8_s400.pth -o out.pth --experiment logs/me

Exit status: 0 written, whichever way out sounds closer, 2 not: the two do not fit each other, or a file cannot be read
or written.
"""


@click.command("restore", cls=Command, epilog=_EXAMPLES)
@click.argument("base", metavar="BASE", type=CheckpointPath())
@click.argument("drifted", metavar="DRIFTED", type=CheckpointPath())
@click.option(
    "-o", "--output", "out", required=True, type=click.Path(dir_okay=False, readable=False), help="The restored file."
)
@click.option("--only", "part", type=click.Choice(("codebook", "projection")), help="Put this part back alone.")
@click.option(
    "--experiment",
    metavar="DIR",
    type=click.Path(readable=False),
    help="Measure on the recordings of this directory (logs/NAME) whether the restored file is better. Needs torch.",
)
@click.option(
    "--symbols",
    metavar="FILE",
    type=click.Path(readable=False),
    help="Text file with GPT-SoVITS's symbols of the version, one a line, in the order of its table. Needed to decode.",
)
@click.option(
    "--sample",
    metavar="N",
    type=click.IntRange(min=2),
    default=20,
    show_default=True,
    help="Measure N recordings, the same ones each time.",
)
@click.option(
    "--save-audio", "folder", metavar="DIR", type=click.Path(file_okay=False), help="Write what was decoded to DIR."
)
@copies_option
@output_options(file=("--report",))
@remote_option
def command(
    base: str,
    drifted: str,
    out: str,
    part: str | None,
    experiment: str | None,
    symbols: str | None,
    sample: int,
    folder: str | None,
    copies: tuple[str, ...],
    output: Output,
) -> int:
    """Write a copy of DRIFTED that has the VQ encoder of BASE, and is the same byte for byte elsewhere.

    GPT-SoVITS and torch load it as they load DRIFTED. The decoder was trained with codes that moved, and gets those of
    BASE now. Whether that sounds closer is measured with --experiment alone.
    """
    from vqcheck.report.views.restore import restored
    from vqcheck.restore.put_back import put_back
    from vqcheck.restore.result import RestoredPart

    check_target(out, (base, drifted))
    if output.file and os.path.realpath(output.file) == os.path.realpath(out):
        raise UsageError(tr("is the restored file; the report must go to another file"), output.file)
    with open_checkpoint(base) as first, open_checkpoint(drifted) as second:
        measuring = _measuring(second, experiment, symbols, sample, folder)
        with Waiting(tr("restoring"), quiet=output.quiet):
            result = put_back(first, second, out, RestoredPart(part or "all"), copies)
        if measuring:
            with Waiting(tr("decoding"), quiet=output.quiet) as waiting:
                result = replace(result, measurement=measuring.run(second, out, folder, waiting.step))
    return output.show(restored(result))


def _measuring(
    drifted: "Checkpoint", experiment: str | None, symbols: str | None, sample: int, folder: str | None
) -> "Measuring | None":
    """Return what is to be measured, if anything, before anything is written.

    Raises:
        UsageError: an option is missing, the experiment cannot be decoded, or torch is not there.

    """
    if experiment is None:
        if symbols or folder:
            raise UsageError(tr("--symbols and --save-audio go with --experiment"))
        return None
    if symbols is None:
        raise UsageError(
            tr(
                '--experiment needs --symbols: in the folder GPT_SoVITS, python -c "from text.symbols2 import symbols; '
                "print(*symbols, sep='\\n')\" > symbols.txt writes it (v1: text.symbols)"
            )
        )
    if folder:
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise UsageError(tr("cannot be written: {strerror}", strerror=error.strerror), folder) from None
    try:
        from vqcheck.restore.measure import Measuring
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise UsageError(tr("measuring needs torch; without --experiment, restore does not")) from None
    return Measuring(drifted, experiment, symbols, sample)
