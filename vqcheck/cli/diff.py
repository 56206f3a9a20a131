"""`vqcheck diff A B`: is the VQ encoder the same; if not, what changed, why, and what it does to the tokens."""

from typing import Final

import click

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.cli.output import JSON, Output, output_options
from vqcheck.cli.progress import Waiting
from vqcheck.codebook.compare import compare
from vqcheck.codebook.comparison import ALL, CHANGED, IDENTICAL, SCOPES, Comparison

_EXAMPLES: Final = """
\b
Examples:
  vqcheck diff s2G2333k.pth logs/me/logs_s2_v2/G_400.pth
  vqcheck diff base.pth exported.pth --scope tokens
  vqcheck diff a.pth b.safetensors --format json -o diff.json
  vqcheck diff s2G2333k.pth G_400.pth --features logs/me/4-cnhubert

Exit status: 0 the same, 1 changed, 2 could not check.
"""


@click.command("diff", epilog=_EXAMPLES)
@click.argument("a", type=click.Path())
@click.argument("b", type=click.Path())
@click.option(
    "--scope",
    type=click.Choice(SCOPES),
    default=ALL,
    show_default=True,
    help="Judge everything, or only what decides tokens (bookkeeping is then shown, not judged).",
)
@click.option(
    "--features",
    type=click.Path(exists=True, file_okay=False),
    help="Measure on the features in this folder (4-cnhubert) how many frames get another token.",
)
@output_options
def command(a: str, b: str, scope: str, features: str | None, output: Output) -> int:
    """Compare the VQ encoders of two checkpoints, bit by bit.

    Reads torch checkpoints of every age, GPT-SoVITS exports and training files, and safetensors. Nothing in a file
    is executed, and only the VQ encoder's bytes are read.
    """
    with open_checkpoint(a) as first, open_checkpoint(b) as second:
        with Waiting("comparing", quiet=output.quiet) as waiting:
            comparison = compare(first, second, scope, waiting.step)
        if features is not None and comparison.verdict != IDENTICAL:
            comparison = _with_flips(comparison, first, second, features, output)
    output.write(_report(comparison, output))
    return comparison.exit_code


def _with_flips(comparison: Comparison, a: Checkpoint, b: Checkpoint, folder: str, output: Output) -> Comparison:
    from vqcheck.codebook.diagnosis import flips
    from vqcheck.codebook.diagnosis.diagnose import with_flips
    from vqcheck.experiment.features import FeatureFolder

    recordings = FeatureFolder(folder)
    with Waiting("deriving tokens", quiet=output.quiet) as waiting:
        found = flips.measure(a, b, recordings.path, recordings, lambda done: waiting.step(done, len(recordings)))
    return with_flips(comparison, found)


def _report(comparison: Comparison, output: Output) -> str:
    if output.format == JSON:
        from vqcheck.report.json.diff import document

        return document(comparison)
    if comparison.verdict == CHANGED or output.verbose:
        from vqcheck.report.text.diff_table import table

        return table(comparison, output.style())
    from vqcheck.report.text.diff import one_line

    return one_line(comparison)
