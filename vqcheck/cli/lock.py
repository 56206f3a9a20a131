"""`vqcheck lock CKPT`: record the VQ encoder once, and verify against the record ever after."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import click

from vqcheck.audit.check_lock import check_bound, check_lock
from vqcheck.audit.lock import NAME, Lock, read_lock
from vqcheck.audit.lock_result import LockCheck, LockVerdict
from vqcheck.audit.make_lock import keep_bindings, make_lock, renamed_from
from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.cli.help import Command
from vqcheck.cli.near_names import with_near_names
from vqcheck.cli.options import (
    ThatExists,
    copy_option,
    details_option,
    expanded,
    family_option,
    name_unused,
    report_unread,
    scope_option,
)
from vqcheck.cli.output import STDOUT, TEXT, Output, output_options
from vqcheck.cli.remote import CheckpointPath, remote_option
from vqcheck.cli.replace_file import replace_file
from vqcheck.cli.terminal import Waiting
from vqcheck.codebook.family import Family
from vqcheck.errors import UsageError, VqcheckError
from vqcheck.experiment.place import exported_weights
from vqcheck.language import tr

_EXAMPLES: Final = """
\b
Examples:
  vqcheck lock s2G2333k.pth --experiment logs/me
  vqcheck lock s2G2333k.pth --experiment logs/me --s1 me-e15.ckpt --update
  vqcheck lock --check SoVITS_weights_v2/me_e8_s400.pth --experiment logs/me
  vqcheck lock --check SoVITS_weights_v2/*.pth -o logs/me/vqcheck.lock
  vqcheck lock s2G2333k.pth -o voices.lock

Exit status: 0 written, or the file agrees with the lock; 1 it does not; 2 could not check, a copy contradicts, or the
tokens of the experiment come from another VQ encoder, so that no lock is made.
"""


@click.command("lock", cls=Command, epilog=_EXAMPLES)
@click.argument("checkpoints", metavar="CKPT...", nargs=-1, required=True, type=CheckpointPath())
@click.option(
    "--experiment",
    type=ThatExists(exists=True, file_okay=False, readable=False),
    help="Bind the tokens of this experiment (6-name2semantic.tsv) to the lock, or check them.",
)
@click.option(
    "--s1",
    multiple=True,
    type=ThatExists(exists=True, dir_okay=False, readable=False),
    help="Bind this s1 (GPT) checkpoint to the lock, or check it; may be repeated. With --update these replace others.",
)
@click.option(
    "-o",
    "--output",
    "lock_file",
    type=click.Path(dir_okay=False, readable=False),
    help=f"The lock; default: {NAME} in the experiment, else here.",
)
@click.option("--check", is_flag=True, help="Verify each CKPT against the lock instead of writing one.")
@click.option(
    "--update",
    is_flag=True,
    help="Replace a lock that says something else. Lock a checkpoint although its base explains the tokens, too.",
)
@details_option
@copy_option
@scope_option
@family_option
@output_options(verbose="Show every check of a lock that agrees, too.", file=("--report",))
@remote_option
def command(
    checkpoints: tuple[str, ...],
    experiment: str | None,
    s1: tuple[str, ...],
    lock_file: str | None,
    check: bool,
    update: bool,
    details: bool,
    copy: str,
    scope: str,
    own: tuple[Family, ...],
    output: Output,
) -> int:
    """Record the VQ encoder of a checkpoint in a small text file for git, or verify others against it.

    Make the lock right after the tokens were extracted, from the checkpoint they were extracted with; bind the s1
    checkpoints to it after s1 training. Verification needs the lock and the files to check, nothing else.
    """
    if check and update:
        raise UsageError(tr("--check verifies and --update writes; give one of them"))
    path = lock_file or os.path.join(experiment or "", NAME)
    if output.file is not None and os.path.realpath(output.file) == os.path.realpath(path):
        raise UsageError(tr("is the lock; write the report to another file"), path)
    if lock_file == STDOUT and check:
        raise UsageError(tr("--check verifies against a lock in a file; name it with -o"))
    if lock_file == STDOUT and output.format != TEXT and output.file is None:
        raise UsageError(tr("the lock goes to stdout (-o -); name a file for the report (--report)"))
    files = expanded(checkpoints)
    if check:
        return _verify(
            files, path, _Wanted(experiment, s1, scope, own, copy, details, bool(lock_file or experiment)), output
        )
    if len(files) > 1:
        raise UsageError(tr("a lock records one checkpoint; --check verifies many against it"))
    unchecked: list[str] = []
    contested: list[str] = []
    with open_checkpoint(files[0]) as file, Waiting(tr("reading tokens and s1"), quiet=output.quiet) as waiting:
        on_contested = contested.append if update else None
        lock = make_lock(file, experiment, s1, own, waiting.step, copy, unchecked.append, on_contested)
    name_unused(own, (lock.family,))
    doubts = _Doubts(next(iter(unchecked), ""), next(iter(contested), ""), renamed_from(s1, experiment))
    return _write(path, lock, doubts, update, output)


@dataclass(frozen=True)
class _Wanted:
    """What is to be verified beside the files, and how."""

    experiment: str | None
    s1: tuple[str, ...]
    scope: str
    own: tuple[Family, ...]
    copy: str
    details: bool
    is_named: bool
    """Whether the user said which lock, by its name or its experiment."""


def _verify(files: Sequence[str], path: str, asked: _Wanted, output: Output) -> int:
    """Verify files against the lock, which is read once; of several each gets a line."""
    from vqcheck.report.views.lock_check import checked, line
    from vqcheck.report.views.many_files import JudgedFile, could_not_check, view

    if len(files) == 1:
        # A file that is missing is told before the lock is.
        with open_checkpoint(files[0]) as file, Waiting(tr("reading tokens and s1"), quiet=output.quiet) as waiting:
            lock = _lock_to_verify(path, asked)
            bound = check_bound(lock, path, asked.experiment, asked.s1, waiting.step)
            result = _checked(lock, path, file, asked, bound)
        name_unused(asked.own, (result.family,))
        return output.show(checked(result, details=asked.details))
    lock = _lock_to_verify(path, asked)
    judged: list[JudgedFile] = []
    used: set[str] = set()
    with Waiting(tr("reading tokens and s1"), quiet=output.quiet) as waiting:
        bound = check_bound(lock, path, asked.experiment, asked.s1, waiting.step)
    with Waiting(tr("verifying"), quiet=output.quiet) as waiting:
        for done, name in enumerate(files, start=1):
            try:
                with open_checkpoint(name) as file:
                    result = _checked(lock, path, file, asked, bound)
                used.add(result.family)
                judged.append(JudgedFile(name, line(result), checked(result, details=asked.details)))
            except VqcheckError as error:
                judged.append(could_not_check("lock", name, with_near_names(str(error), error.path)))
            waiting.step(done, len(files))
    status = output.show(view("lock", path, "lock", judged, details=asked.details))
    report_unread(judged)
    name_unused(asked.own, used)
    return status


def _lock_to_verify(path: str, asked: _Wanted) -> Lock:
    if not asked.is_named and not os.path.lexists(path):
        raise UsageError(
            tr(
                "there is no lock in this folder; 'vqcheck lock CHECKPOINT' makes one, and -o LOCK or --experiment DIR "
                "names one that lies elsewhere"
            ),
            path,
        )
    return read_lock(path)


def _what_it_records(old: Lock, new: Lock) -> str:
    """Return what a lock that is in the way holds, and how to replace it."""
    if replace(old, checkpoint=new.checkpoint, record=new.record).text() == new.text():
        return tr(
            "exists and records the same VQ encoder, as that of {checkpoint}; --update replaces it",
            checkpoint=old.checkpoint,
        )
    return tr("exists and records something else; --check shows what differs, --update replaces it")


def _checked(lock: Lock, path: str, file: Checkpoint, asked: _Wanted, bound: tuple[LockVerdict, ...]) -> LockCheck:
    result = check_lock(lock, path, file, None, None, asked.scope, asked.own, copy=asked.copy, bound=bound)
    return replace(result, exported=exported_weights(file.path)) if result.exit_code else result


@dataclass(frozen=True)
class _Doubts:
    """Why the tokens may come from another checkpoint than the one that is locked; empty where nothing says so."""

    unchecked: str
    contested: str
    renamed: tuple[tuple[str, str], ...]
    """s1 checkpoints with the tokens that they name, where these are of another folder."""


def _write(path: str, lock: Lock, doubts: _Doubts, update: bool, output: Output) -> int:
    from vqcheck.report.views.lock import WriteVerdict, written

    state = WriteVerdict.WRITTEN
    if path == STDOUT:
        sys.stdout.write(lock.text())
        document = written(lock, "stdout", state, doubts.unchecked, doubts.contested, doubts.renamed)
        if output.file is not None:
            return output.show(document)
        output.announce(document)
        return document.exit_code
    if os.path.exists(path):
        # Read also when it will be replaced: a file that is no lock is somebody else's.
        old = read_lock(path)
        lock = keep_bindings(old, lock)
        if old.text() == lock.text():
            state = WriteVerdict.UNCHANGED
        elif not update:
            raise UsageError(_what_it_records(old, lock), path)
    if state is WriteVerdict.WRITTEN:
        replace_file(path, lock.text())
    return output.show(written(lock, path, state, doubts.unchecked, doubts.contested, doubts.renamed))
