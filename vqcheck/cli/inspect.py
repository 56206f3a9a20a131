"""`vqcheck inspect CKPT...`: what is in these files."""

import os
from typing import Final

import click

from vqcheck.checkpoint.open import open_as_stored
from vqcheck.checkpoint.remote.address import is_address
from vqcheck.cli.help import Command
from vqcheck.cli.near_names import with_near_names
from vqcheck.cli.options import copy_option, expanded, family_option, name_unused
from vqcheck.cli.output import TEXT, Output, output_options
from vqcheck.cli.remote import CheckpointPath, remote_option
from vqcheck.cli.terminal import Waiting, say
from vqcheck.codebook.family import Family
from vqcheck.codebook.inspection import inspect
from vqcheck.codebook.inspection_result import InspectedFiles, Inspection, UnreadFile
from vqcheck.errors import UsageError, VqcheckError
from vqcheck.language import tr
from vqcheck.report.views.inspect import view

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


@click.command("inspect", cls=Command, epilog=_EXAMPLES)
@click.argument("checkpoints", metavar="CKPT...", nargs=-1, required=True, type=CheckpointPath())
@click.option(
    "--strict", is_flag=True, help="Fail when a codebook was never trained, is not finite, broken or collapsed."
)
@click.option(
    "--no-digests",
    is_flag=True,
    help="Read the index alone: no digests, no health, and little of a remote file.",
)
@copy_option
@family_option
@output_options(verbose="Show more: full digests, every codebook.")
@remote_option
def command(
    checkpoints: tuple[str, ...], strict: bool, no_digests: bool, copy: str, own: tuple[Family, ...], output: Output
) -> int:
    """Show format, model version, VQ encoder, digests and health of checkpoints."""
    if strict and no_digests:
        raise UsageError(tr("--strict judges the values, which --no-digests does not read; give one of them"))
    found: list[Inspection | UnreadFile] = []
    with Waiting(tr("inspecting"), quiet=output.quiet) as waiting:
        paths = [path for named in expanded(checkpoints) for path in _in_folder(named)]
        for done, path in enumerate(paths, start=1):
            found.append(_inspect(path, own, copy, by_index=no_digests))
            waiting.step(done, len(paths))
    files = InspectedFiles(tuple(found), strict)
    if files.inspected or output.format != TEXT:
        # Otherwise there is nothing to read but errors, which stand on stderr.
        output.show(view(files))
    for file in files.unread:
        say(file.why)
    name_unused(own, (encoder.family for file in files.inspected for encoder in file.encoders))
    return files.exit_code


def _in_folder(path: str) -> list[str]:
    """Return the checkpoints of a folder; a file that is not a checkpoint fails later, when it is opened."""
    if is_address(path) or not os.path.isdir(path):
        return [path]
    from vqcheck.checkpoint.model_folder import checkpoints_in

    try:
        return checkpoints_in(path)
    except VqcheckError:
        return [path]


def _inspect(path: str, own: tuple[Family, ...], copy: str, *, by_index: bool) -> Inspection | UnreadFile:
    try:
        with open_as_stored(path) as checkpoint:
            return inspect(checkpoint, own, copy, by_index=by_index)
    except VqcheckError as error:
        return UnreadFile(path, with_near_names(str(error), error.path))
