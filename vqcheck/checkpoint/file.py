"""Positioned, exact reads from one open file that may be truncated or replaced by somebody else meanwhile."""

import os
from types import TracebackType
from typing import Final

from vqcheck.checkpoint.regular import regular
from vqcheck.checkpoint.shown import one_line, shown
from vqcheck.errors import CheckpointError

_CHUNK: Final = 8 << 20


class PositionedFile:
    """One regular file, opened once and read by position.

    The file is never mapped: a mapped file that somebody truncates kills the process.

    Attributes:
        path: the file as the caller named it.
        label: the same as it stands in messages, one printable line.
        size: its bytes when it was opened.
        bytes_read: how many were read from it until now.

    Raises:
        CheckpointError: the path is missing, no regular file, or not readable.

    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fsdecode(path)
        self.label = one_line(self.path)
        try:
            self._file = open(self.path, "rb", buffering=0, opener=regular)  # noqa: SIM115 - closed by close()
        except FileNotFoundError:
            raise CheckpointError(f"{self.label}: no such file") from None
        except IsADirectoryError:
            raise CheckpointError(f"{self.label}: is a directory, expected a checkpoint file") from None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise CheckpointError(f"{self.label}: cannot be opened: {reason}") from None
        self._identity = _identity(os.fstat(self._file.fileno()))
        self.size: int = self._identity[0]
        self.bytes_read = 0

    def read(self, start: int, size: int, what: str) -> bytearray:
        """Return exactly `size` bytes from position `start`; `what` names them in errors.

        Raises:
            CheckpointError: the file ends before, or reading fails.

        """
        if start < 0 or size < 0 or start + size > self.size:
            raise CheckpointError(f"{self.label}: {shown(what)}: lies outside the file (truncated?)")
        buffer = bytearray(size)
        view = memoryview(buffer)
        done = 0
        try:
            self._file.seek(start)
            while done < size:
                count = self._file.readinto(view[done : done + _CHUNK])
                if not count:
                    raise CheckpointError(f"{self.label}: {shown(what)}: the file was truncated while it was read")
                done += count
        except OSError as error:
            raise CheckpointError(f"{self.label}: {shown(what)}: cannot be read: {error.strerror}") from None
        self.bytes_read += size
        return buffer

    def check_unchanged(self) -> None:
        """Raise CheckpointError when the file was written to or replaced since it was opened."""
        try:
            same = self._identity == _identity(os.fstat(self._file.fileno())) == _identity(os.stat(self.path))
        except OSError:
            same = False
        if not same:
            raise CheckpointError(
                f"{self.label}: was written or replaced while it was read; run again when it is at rest"
            )

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> "PositionedFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _identity(status: os.stat_result) -> tuple[int, ...]:
    # Whoever writes can put the time of modification back, but not that of the change. Windows has none: what it gives
    # there is the time of creation.
    changed = status.st_ctime_ns if os.name == "posix" else 0
    return status.st_size, status.st_mtime_ns, changed, status.st_ino, status.st_dev
