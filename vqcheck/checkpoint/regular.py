"""An opener for files that others made: whatever a path leads to, opening it neither waits nor wakes a device."""

import errno
import os
import stat


def regular(path: str, flags: int) -> int:
    """Open a regular file; for `open(path, opener=regular)`.

    Raises:
        OSError: as `os.open`, or the path leads to a pipe, a device, a socket or a folder.

    """
    # Asked before, since opening a device can do something; and after, since the path may lead elsewhere by then.
    _check(os.stat(path).st_mode, path)
    # Opening a pipe would wait for its other end; to a regular file the flag means nothing.
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    try:
        _check(os.fstat(descriptor).st_mode, path)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _check(mode: int, path: str) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is not a regular file", path)
