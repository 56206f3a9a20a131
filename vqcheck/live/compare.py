"""`vqcheck.compare`: two VQ encoders, wherever they are: in a file, an open checkpoint, a live module or a lock."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Union

from vqcheck.audit.lock import Lock
from vqcheck.checkpoint.file import open_regular_file
from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.checkpoint.remote.address import is_address
from vqcheck.codebook.comparison import Comparison, Scope
from vqcheck.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

    from vqcheck.audit.lock_result import LockCheck

Subject = Union[str, "os.PathLike[str]", Checkpoint, "nn.Module", Lock]

_LONGEST_LOCK = 1 << 20
_SCHEMA = b"\nschema vqcheck/lock/"


def compare(a: Subject, b: Subject, scope: str = Scope.ALL, **options: Any) -> Comparison | LockCheck:
    """Return what differs between the VQ encoders of A and B.

    Each is a path, an open checkpoint, a live module, or a lock or its path. A live module counts as a training state:
    later than a base, earlier than an export. With `scope="tokens"` bookkeeping tensors are not judged. Further
    options are those of `vqcheck.codebook.compare.compare`. One of the two may be a lock; then the result is a
    LockCheck, and there are no further options. Both kinds of result have `verdict` and `exit_code`.

    Raises:
        NoCodebookError: one holds no VQ encoder, or the two have no token-relevant tensor in common.
        CheckpointError: a file cannot be read.
        UsageError: two locks, or what is neither of these.

    """
    from vqcheck.codebook.compare import compare as compare_checkpoints

    with ExitStack() as opened:
        one, other = _opened(a, opened), _opened(b, opened) if b is not a else None
        other = one if other is None else other
        if isinstance(one, tuple) and isinstance(other, tuple):
            raise UsageError(
                "compares a lock with a checkpoint or a module, not with another lock; locks are text files"
            )
        if isinstance(one, tuple):
            return _checked(one, other, scope, options)
        if isinstance(other, tuple):
            return _checked(other, one, scope, options)
        return compare_checkpoints(one, other, scope, **options)


def _checked(lock: tuple[Lock, str], file: Any, scope: str, options: dict[str, Any]) -> LockCheck:
    from vqcheck.audit.check_lock import check_lock

    if options:
        raise UsageError(f"a lock is compared without the option {next(iter(options))}")
    return check_lock(*lock, file, None, None, Scope(scope))


def _opened(subject: Subject, opened: ExitStack) -> Checkpoint | tuple[Lock, str]:
    """Return a subject as an open checkpoint, or a lock and what to call it."""
    if isinstance(subject, Checkpoint):
        return subject
    if isinstance(subject, Lock):
        return subject, "the lock"
    if isinstance(subject, (str, os.PathLike)):
        if not is_address(subject) and _is_lock(subject):
            from vqcheck.audit.lock import read_lock

            return read_lock(os.fspath(subject)), os.fspath(subject)
        return opened.enter_context(open_checkpoint(subject))
    if hasattr(subject, "state_dict"):
        from vqcheck.live.module_checkpoint import ModuleCheckpoint

        return ModuleCheckpoint(subject)
    raise UsageError(f"cannot compare a {type(subject).__name__}; give a path, a checkpoint, a module or a lock")


def _is_lock(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file is a lock, by its content; whatever cannot be read is left to the reader of checkpoints."""
    try:
        with open(path, "rb", opener=open_regular_file) as file:
            if os.fstat(file.fileno()).st_size > _LONGEST_LOCK:
                return False
            return _SCHEMA in b"\n" + file.read(_LONGEST_LOCK).replace(b"\r", b"\n")
    except (OSError, ValueError):
        return False
