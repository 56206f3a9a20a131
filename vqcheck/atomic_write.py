"""Writes a file as a whole or not at all: whatever happens meanwhile, the old one stays as it was.

On Linux the new content has no name until it is complete, so a process that is killed while it writes leaves nothing
behind. A file that is new then gets its name in one step. To replace one takes two: a temporary name beside it, and its
renaming. A process that is killed in between leaves that name behind, as does one killed at any time where content must
have a name from the beginning (other systems, network drives). The next write to the same file takes it away.
"""

import contextlib
import errno
import os
import stat
import time
from collections.abc import Iterator
from types import ModuleType
from typing import BinaryIO, Final

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_LONGEST_NAME: Final = 255
"""Bytes; what every file system in use allows."""
_PATIENCE: Final = 30.0
"""Seconds for which another program may have the temporary name: one that writes much, or one that has it for ever."""
_MOST_TRIES: Final = 1_000
_CONTENDED: Final = "another program makes its temporary file (.NAME.vqcheck) again and again"
_CANNOT: Final = (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL)
"""What a system says that knows no files without a name."""


@contextlib.contextmanager
def atomic_write(path: str) -> Iterator[BinaryIO]:
    """Give a stream whose content becomes the file at the end, unless something raises before.

    A link is replaced, not followed. Permissions are those of the old file, or of any new one.

    Raises:
        OSError: it cannot be written.

    """
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, _temporary_name(name))
    with _locked_file(folder or ".", temporary, path) if fcntl else _open_file(temporary, path) as stream:
        yield stream


def _temporary_name(name: str) -> str:
    """Return the one temporary name of a file: whoever writes the file next must find what was left behind."""
    kept = os.fsencode(name)[: _LONGEST_NAME - len("..vqcheck")]
    return f".{os.fsdecode(kept)}.vqcheck"


@contextlib.contextmanager
def _open_file(temporary: str, path: str) -> Iterator[BinaryIO]:
    """As `atomic_write`, where only closed files can be renamed, and no open one can be removed."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)  # of a process that was killed; fails while another one has it open
    try:
        with open(temporary, "xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        with contextlib.suppress(FileNotFoundError):
            os.chmod(temporary, stat.S_IMODE(os.stat(path).st_mode))
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


@contextlib.contextmanager
def _locked_file(folder: str, temporary: str, path: str) -> Iterator[BinaryIO]:
    """As `atomic_write`, where a lock tells a file that is being written from one that was left behind."""
    if os.path.lexists(temporary):
        _take_away(temporary)
    descriptor, has_name = _new_file(folder, temporary)
    with os.fdopen(descriptor, "wb") as stream:
        try:
            yield stream
            stream.flush()
            # A full disk may show only here; and a name must not be on the disk before its content.
            os.fsync(descriptor)
            with contextlib.suppress(FileNotFoundError):
                os.fchmod(descriptor, stat.S_IMODE(os.stat(path).st_mode))
            if has_name or not _give_name(descriptor, path):
                if not has_name:
                    _give_temporary_name(descriptor, temporary)
                os.replace(temporary, path)
        except BaseException:
            _take_away_own(descriptor, temporary)
            raise


def _new_file(folder: str, temporary: str) -> tuple[int, bool]:
    """Return (descriptor of a new, locked file; whether it has the temporary name already, or none)."""
    if hasattr(os, "O_TMPFILE"):
        try:
            descriptor = os.open(folder, os.O_WRONLY | os.O_TMPFILE, 0o666)
        except OSError as error:
            if error.errno not in _CANNOT:
                raise
        else:
            if os.path.lexists(_in_proc(descriptor)):
                _lock(descriptor)
                return descriptor, False
            os.close(descriptor)
    for _ in range(_MOST_TRIES):
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            _take_away(temporary)
            continue
        _lock(descriptor)
        if os.fstat(descriptor).st_nlink:
            return descriptor, True
        os.close(descriptor)  # somebody took it for one left behind, before it was locked
    raise OSError(errno.EBUSY, _CONTENDED)


def _give_temporary_name(descriptor: int, temporary: str) -> None:
    for _ in range(_MOST_TRIES):
        if _give_name(descriptor, temporary):
            return
        _take_away(temporary)
    raise OSError(errno.EBUSY, _CONTENDED)


def _give_name(descriptor: int, path: str) -> bool:
    """Give a file without a name one; return False where that is taken."""
    # With the descriptor of a folder, Python makes the system call that follows the link in /proc.
    folder = os.open(os.path.dirname(path) or ".", os.O_PATH)
    try:
        os.link(_in_proc(descriptor), os.path.basename(path), dst_dir_fd=folder, follow_symlinks=True)
    except FileExistsError:
        return False
    finally:
        os.close(folder)
    return True


def _in_proc(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"


def _take_away(temporary: str) -> None:
    """Remove what a killed process left behind; wait for one that still lives to be done with it."""
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(temporary, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            _lock(descriptor)
            _take_away_own(descriptor, temporary)
        finally:
            os.close(descriptor)


def _take_away_own(descriptor: int, temporary: str) -> None:
    """Remove the temporary name if it is that of this file, which must be locked."""
    with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(descriptor), os.lstat(temporary)):
            os.unlink(temporary)


def _lock(descriptor: int) -> None:
    """Wait until nobody else has the file; have it until it is closed.

    Raises:
        OSError: another program has had it for too long.

    """
    assert fcntl is not None
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise OSError(errno.EBUSY, "another program holds its temporary file (.NAME.vqcheck)") from None
            time.sleep(0.01)
        except OSError:
            # Some network drives know no locks: there, two that write the same file at once are not kept apart.
            return
        else:
            return
