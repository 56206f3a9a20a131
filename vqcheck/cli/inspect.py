"""`vqcheck inspect CKPT...`: what is in these files."""

import os
import sys
from typing import Final

import click

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.cli.formats import JSON, write_old
from vqcheck.cli.help import Command
from vqcheck.cli.options import copy_option, family_option, name_unused
from vqcheck.cli.output import Output, output_options
from vqcheck.cli.terminal import Waiting
from vqcheck.codebook.family import Family
from vqcheck.codebook.health import HEALTHY
from vqcheck.codebook.inspection import NO_CODEBOOK, UNREADABLE_COPY, EncoderSummary, Inspection, inspect
from vqcheck.errors import VqcheckError

_EXAMPLES: Final = """
\b
Examples:
  vqcheck inspect s2G2333k.pth
  vqcheck inspect SoVITS_weights_v2/*.pth --strict
  vqcheck inspect G_400.pth --format json
  vqcheck inspect models/mimi/

Exit status: 0 every file holds a codebook, 1 with --strict when one is unfit for use, 2 when a file cannot be read or
holds no codebook.
"""

_Result = Inspection | tuple[str, str]
"""What a file is, or (path, why it could not be read)."""


@click.command("inspect", cls=Command, epilog=_EXAMPLES)
@click.argument("checkpoints", metavar="CKPT...", nargs=-1, required=True, type=click.Path(readable=False))
@click.option(
    "--strict", is_flag=True, help="Fail when a codebook was never trained, is not finite, broken or collapsed."
)
@copy_option
@family_option
@output_options(verbose="Show more: full digests, every codebook.")
def command(checkpoints: tuple[str, ...], strict: bool, copy: str, own: tuple[Family, ...], output: Output) -> int:
    """Show format, model version, VQ encoder, digests and health of checkpoints."""
    results: list[_Result] = []
    with Waiting("inspecting", quiet=output.quiet) as waiting:
        paths = [path for named in checkpoints for path in _in_folder(named)]
        for done, path in enumerate(paths, start=1):
            results.append(_inspect(path, own, copy))
            waiting.step(done, len(paths))
    verdict, exit_code = _whole(results, strict)
    write_old(output, _report(results, verdict, exit_code, output))
    for result in results:
        if isinstance(result, tuple):
            print(f"vqcheck: {result[1]}", file=sys.stderr)
    name_unused(own, (found.family for result in results for found in _encoders(result)))
    return exit_code


def _encoders(result: _Result) -> list[EncoderSummary]:
    if isinstance(result, tuple) or result.vq_encoder is None:
        return []
    return [result.vq_encoder, *result.others]


def _in_folder(path: str) -> list[str]:
    """Return the checkpoints of a folder; whatever is none, and a folder without any, is told of when it is opened."""
    if not os.path.isdir(path):
        return [path]
    from vqcheck.checkpoint.folder import checkpoints_in

    try:
        return checkpoints_in(path)
    except VqcheckError:
        return [path]


def _inspect(path: str, own: tuple[Family, ...], copy: str) -> _Result:
    try:
        with open_checkpoint(path) as checkpoint:
            return inspect(checkpoint, own, copy)
    except VqcheckError as error:
        return path, str(error)


def _whole(results: list[_Result], strict: bool) -> tuple[str, int]:
    """Return the verdict on all files and the exit status: 2 beats 1 beats 0."""
    verdicts = ["could not check" if isinstance(result, tuple) else result.verdict for result in results]
    for unchecked in ("could not check", NO_CODEBOOK, UNREADABLE_COPY):
        if unchecked in verdicts:
            return unchecked, 2
    unhealthy = next((verdict for verdict in verdicts if verdict != HEALTHY), None)
    return (unhealthy, int(strict)) if unhealthy else (HEALTHY, 0)


def _report(results: list[_Result], verdict: str, exit_code: int, output: Output) -> str:
    if output.format == JSON:
        from vqcheck.report.json.inspect import document

        return document(results, verdict, exit_code)
    from vqcheck.report.text.inspect import describe

    style = output.style()
    return "\n".join(describe(result, style) for result in results if isinstance(result, Inspection))
