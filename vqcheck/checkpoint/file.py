"""Exact reads by position from one open file, which somebody may truncate or replace meanwhile."""

import errno
import os
import stat
from collections.abc import Callable
from types import TracebackType
from typing import Final

from vqcheck.checkpoint.stored_tensor import Extent
from vqcheck.errors import CheckpointError
from vqcheck.language import tr
from vqcheck.sanitize import sanitize_name

_CHUNK: Final = 8 << 20


def open_regular_file(path: str, flags: int) -> int:
    """Open a regular file; for `open(path, opener=open_regular_file)`.

    Raises:
        OSError: as `os.open`, or the path leads to a pipe, a device, a socket or a folder.

    """
    # Asked before, since opening a device can do something; and after, since the path may lead elsewhere by then.
    _require_regular(os.stat(path).st_mode, path)
    # Opening a pipe would wait for its other end; to a regular file the flag means nothing.
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    try:
        _require_regular(os.fstat(descriptor).st_mode, path)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _require_regular(mode: int, path: str) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, tr("it is not a regular file"), path)


class PositionedFile:
    """One regular file, opened once and read by position.

    The file is never mapped: a mapped file that somebody truncates kills the process.

    Attributes:
        path: the file as the caller named it.
        is_remote: whether its bytes come over the network.
        siblings: gives the address of the file of another name beside it; None where it is a file of a folder.
        size: its bytes when it was opened.
        bytes_read: how many were read from it until now.

    Raises:
        CheckpointError: the path is missing, no regular file, or not readable.

    """

    is_remote = False
    siblings: Callable[[str], str] | None = None

    def __init__(self, path: str | os.PathLike[str], place: str | None = None) -> None:
        """Open the file at a path; `place` is where it lies, where `path` is the name of something else."""
        self.path: str = os.fsdecode(path)
        self._place = self.path if place is None else place
        try:
            self._file = open(self._place, "rb", buffering=0, opener=open_regular_file)  # noqa: SIM115 - closed by close()
        except FileNotFoundError:
            if "://" in self._place:
                wrong = tr("is an address, and this takes the whole file; download it (curl -LO)")
                raise self.error(wrong) from None
            raise self.error(tr("no such file")) from None
        except IsADirectoryError:
            raise self.error(tr("is a directory, expected a checkpoint file")) from None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise self.error(tr("cannot be opened: {reason}", reason=reason)) from None
        self._identity = _identity(os.fstat(self._file.fileno()))
        self.size: int = self._identity[0]
        self.bytes_read: int = 0

    def read(self, start: int, size: int, what: str) -> bytearray:
        """Return exactly `size` bytes from position `start`; `what` names them in errors.

        Raises:
            CheckpointError: the file ends before, or reading fails.

        """
        if start < 0 or size < 0 or start + size > self.size:
            raise self.error(tr("lies outside the file (truncated?)"), what)
        buffer = bytearray(size)
        done = 0
        try:
            while done < size:
                count = self._fill(start + done, memoryview(buffer)[done : done + _CHUNK])
                if not count:
                    raise self.error(tr("the file was truncated while it was read"), what)
                done += count
        except OSError as error:
            raise self.error(tr("cannot be read: {reason}", reason=error.strerror), what) from None
        self.bytes_read += size
        return buffer

    def _fill(self, start: int, buffer: memoryview) -> int:
        """Read some bytes from a position into a buffer, and return how many; none at the end of the file."""
        self._file.seek(start)
        return self._file.readinto(buffer) or 0

    def expect(self, start: int, size: int) -> None:
        """Hear that these bytes will be read; a file of this machine has no use for it."""

    def read_extent(self, extent: Extent, start: int, size: int) -> bytearray:
        """Return `size` bytes of an extent that is stored as it is, from position `start` inside it."""
        return self.read(extent.start + start, size, extent.member)

    def error(self, reason: str, member: str = "") -> CheckpointError:
        """Return the error that says what is wrong with this file, or with a part of it."""
        return CheckpointError(reason, self.path, member)

    def is_same(self, other: "PositionedFile") -> bool:
        """Say whether this and the other are one file, under whatever names."""
        if other.is_remote:
            return False
        return os.path.sameopenfile(self._file.fileno(), other._file.fileno())  # noqa: SLF001 - of this class

    def is_at(self, path: str) -> bool:
        """Say whether a path leads to this file."""
        return os.path.exists(path) and os.path.samefile(self._place, path)

    def check_unchanged(self) -> None:
        """Raise CheckpointError when the file was written to or replaced since it was opened."""
        try:
            same = self._identity == _identity(os.fstat(self._file.fileno())) == _identity(os.stat(self._place))
        except OSError:
            same = False
        if not same:
            raise self.error(tr("was written or replaced while it was read; run again when nothing writes to it"))

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> "PositionedFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class FilePart(PositionedFile):
    """A part of an open file, read as if it were a file by itself; the whole one is not closed with it.

    Raises:
        CheckpointError: the part does not lie in the file.

    """

    def __init__(self, whole: PositionedFile, start: int, size: int, name: str) -> None:
        self.path: str = whole.path
        self._whole, self._start, self._name = whole, start, name
        self.size = size
        self.bytes_read: int = 0
        if start < 0 or size <= 0 or start + size > whole.size:
            raise self.error(tr("lies outside the file (truncated?)"))

    def read(self, start: int, size: int, what: str) -> bytearray:
        if start < 0 or size < 0 or start + size > self.size:
            raise self.error(tr("{what} lies outside its part of the file", what=what))
        self.bytes_read += size
        return self._whole.read(self._start + start, size, what)

    def error(self, reason: str, member: str = "") -> CheckpointError:
        said = tr("{name}: {text}", name=sanitize_name(member), text=reason) if member else reason
        return self._whole.error(said, self._name)

    def check_unchanged(self) -> None:
        self._whole.check_unchanged()

    def close(self) -> None:
        """Leave the whole file open."""


def _identity(status: os.stat_result) -> tuple[int, ...]:
    # Whoever writes can put the time of modification back, but not that of the change. Windows has none: what it gives
    # there is the time of creation.
    changed = status.st_ctime_ns if os.name == "posix" else 0
    return status.st_size, status.st_mtime_ns, changed, status.st_ino, status.st_dev
