"""`vqcheck lock CKPT`: record the VQ encoder once, and verify against the record ever after."""

import os
from typing import Final

import click

from vqcheck.audit.check_lock import check_lock
from vqcheck.audit.lock import NAME, Lock, read_lock
from vqcheck.audit.make_lock import keep_bindings, make_lock
from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.cli.help import Command
from vqcheck.cli.options import copy_option, family_option, name_unused, scope_option
from vqcheck.cli.output import Output, output_options
from vqcheck.cli.replace_file import replace_file
from vqcheck.cli.terminal import Waiting
from vqcheck.codebook.family import Family
from vqcheck.errors import UsageError

_EXAMPLES: Final = """
\b
Examples:
  vqcheck lock s2G2333k.pth --experiment logs/me
  vqcheck lock s2G2333k.pth --experiment logs/me --s1 me-e15.ckpt --update
  vqcheck lock s2G2333k.pth --experiment logs/me --s1 me-e15.ckpt --s1 epoch=14-step=300.ckpt --update
  vqcheck lock --check SoVITS_weights_v2/me_e8_s400.pth --experiment logs/me
  vqcheck lock s2G2333k.pth -o voices.lock

Exit status: 0 written, or the file agrees with the lock; 1 it does not; 2 could not check, a copy contradicts, or the
tokens of the experiment come from another VQ encoder, so that no lock is made.
"""


@click.command("lock", cls=Command, epilog=_EXAMPLES)
@click.argument("checkpoint", metavar="CKPT", type=click.Path(readable=False))
@click.option(
    "--experiment",
    type=click.Path(exists=True, file_okay=False, readable=False),
    help="Bind the tokens of this experiment (6-name2semantic.tsv) to the lock, or check them.",
)
@click.option(
    "--s1",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, readable=False),
    help="Bind this s1 (GPT) checkpoint to the lock, or check it; may be repeated. With --update these replace others.",
)
@click.option(
    "-o",
    "--output",
    "lock_file",
    type=click.Path(dir_okay=False, readable=False),
    help=f"The lock; default: {NAME} in the experiment, else here.",
)
@click.option("--check", is_flag=True, help="Verify CKPT against the lock instead of writing one.")
@click.option("--update", is_flag=True, help="Replace a lock that says something else.")
@copy_option
@scope_option
@family_option
@output_options(verbose="Show every check of a lock that agrees, too.", file=("--report",))
def command(
    checkpoint: str,
    experiment: str | None,
    s1: tuple[str, ...],
    lock_file: str | None,
    check: bool,
    update: bool,
    copy: str,
    scope: str,
    own: tuple[Family, ...],
    output: Output,
) -> int:
    """Record the VQ encoder of a checkpoint in a small text file for git, or verify one against it.

    Make the lock right after the tokens were extracted, from the checkpoint they were extracted with; bind the s1
    checkpoints to it after s1 training. Verification needs the lock and the file to check, nothing else.
    """
    if check and update:
        raise UsageError("--check verifies and --update writes; give one of them")
    path = lock_file or os.path.join(experiment or "", NAME)
    if output.file is not None and os.path.realpath(output.file) == os.path.realpath(path):
        raise UsageError("is the lock; write the report to another file", path)
    unchecked: list[str] = []
    with open_checkpoint(checkpoint) as file, Waiting("reading tokens and s1", quiet=output.quiet) as waiting:
        if not check:
            lock = make_lock(file, experiment, s1, own, waiting.step, copy, unchecked.append)
        else:
            result = check_lock(read_lock(path), path, file, experiment, s1, scope, own, waiting.step, copy)
    name_unused(own, (result.family if check else lock.family,))
    if not check:
        return _write(path, lock, "".join(unchecked), update, output)
    from vqcheck.report.views.lock_check import checked

    return output.show(checked(result))


def _write(path: str, lock: Lock, unchecked: str, update: bool, output: Output) -> int:
    state = "written"
    if os.path.exists(path):
        # Read also when it will be replaced: a file that is no lock is somebody else's.
        old = read_lock(path)
        lock = keep_bindings(old, lock)
        if old.text() == lock.text():
            state = "unchanged"
        elif not update:
            raise UsageError(
                "exists and records something else; --check shows what differs, --update replaces it", path
            )
    if state == "written":
        replace_file(path, lock.text())
    from vqcheck.report.views.lock import written

    return output.show(written(lock, path, state, unchecked))
