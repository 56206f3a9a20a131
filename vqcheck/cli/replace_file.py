"""Writes a report or a lock to the file that the user named: as a whole or not at all, or at its end."""

import errno
import os
import re
import stat
import sys
from collections.abc import Iterable
from typing import Final

from vqcheck.errors import NotWritableError
from vqcheck.language import tr

_MOST_LINKS: Final = 40
"""As many as systems follow."""
_OPEN_FILE: Final = re.compile(r"(?:/proc/(\d+)(?:/task/\d+)?|/dev)/fd/(\d+)")
"""Names of open files, `/dev/stdout` once its links are followed: process, where it is named, and descriptor."""

_RECORDS: Final = re.compile(r"(6-name2semantic(-\d+)?\.tsv|2-name2text(-\d+)?\.txt|vqcheck\.lock)", re.IGNORECASE)
"""Files of an experiment that a report must not replace: making them again takes a training's preparation."""


def check_target(path: str, inputs: Iterable[object]) -> None:
    """Refuse, before any work is done, a file for a report that could not be written or that is needed as it is.

    `inputs` are the values that the command was given; those that name files must not be overwritten.

    Raises:
        UsageError: its folder is missing, it is one of the inputs, or a record of an experiment.

    """
    folder = os.path.dirname(path) or os.curdir
    if not os.path.isdir(folder):
        raise NotWritableError(tr("cannot be written: {strerror}", strerror=os.strerror(errno.ENOENT)), path)
    if not os.path.isfile(path):
        return
    if any(isinstance(name, str) and os.path.isfile(name) and os.path.samefile(name, path) for name in inputs):
        raise NotWritableError(tr("is what this command reads; the output must go to another file"), path)
    if _RECORDS.fullmatch(os.path.basename(path)):
        raise NotWritableError(tr("belongs to an experiment; the output must go to another file"), path)


def replace_file(path: str, report: str) -> None:
    """Write a text file that replaces an old one only when it is complete. A link is followed, a device written to.

    What the program already has open (`/dev/stdout`, `/dev/fd/3`) is written to where it stands: it may be the log of
    everything that ran before.

    Raises:
        UsageError: it cannot be written, holds a checkpoint, is a pipe that nobody reads, or a link that another user
            made; an old file is left as it was.

    """
    from vqcheck.atomic_write import atomic_write

    content = report.encode("utf-8", "backslashreplace")
    try:
        target = _followed(path) if hasattr(os, "geteuid") else os.path.realpath(path)
        open_file = _OPEN_FILE.fullmatch(target)
        if open_file and open_file[1] in (None, str(os.getpid())):
            sys.stdout.flush()
            with open(os.dup(int(open_file[2])), "wb") as stream:
                stream.write(content)
            return
        if os.path.exists(path) and not os.path.isfile(path):
            with open(path, "wb", opener=_at_once) as stream:
                stream.write(content)
            return
        if os.path.islink(target):
            os.stat(target)  # a loop of links, which is told apart only here
        if _holds_a_checkpoint(target):
            raise NotWritableError(tr("is a checkpoint; the output must go to another file"), path)
        with atomic_write(target) as stream:
            stream.write(content)
    except OSError as error:
        raise NotWritableError(tr("cannot be written: {strerror}", strerror=error.strerror), path) from None


def add_to_file(path: str, text: str) -> None:
    """Write a text at the end of a regular file, which need not be there.

    Raises:
        OSError: it cannot be written, or is anything else, such as a pipe that could be waited for without end.

    """
    with open(path, "a", encoding="utf-8", errors="backslashreplace", newline="\n", opener=_regular_or_new) as stream:
        stream.write(text)


def _regular_or_new(path: str, flags: int) -> int:
    from vqcheck.checkpoint.file import open_regular_file

    try:
        return open_regular_file(path, flags & ~os.O_CREAT)
    except FileNotFoundError:
        return os.open(path, flags | os.O_EXCL, 0o666)


def _followed(path: str) -> str:
    """Return the path without links in it.

    A link counts only where its maker could as well have written what it leads to: it is this user's, root's, or that
    of the folder's owner. In a folder that many may write to, anybody can lay one.

    Raises:
        OSError: another user's link, or links that lead in a circle.

    """
    trusted = (os.geteuid(), 0)
    names = os.path.join(os.getcwd(), path).split("/")[::-1]
    at, links = "/", 0
    while names:
        name = names.pop()
        step = os.path.join(at, name)
        if name in ("", "."):
            continue
        if name == "..":
            at = os.path.dirname(at)
            continue
        try:
            status = os.lstat(step)
        except FileNotFoundError:
            # Nothing more to follow; whether it can be made is told by making it.
            return os.path.join(step, *names[::-1])
        if not stat.S_ISLNK(status.st_mode) or _OPEN_FILE.fullmatch(step):
            # The name of an open file looks like a link; to follow it would open another file of that name.
            at = step
            continue
        if status.st_uid not in (*trusted, os.lstat(at).st_uid):
            raise OSError(errno.EPERM, "a link that another user made leads elsewhere", step)
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        aim = os.readlink(step)
        at = "/" if aim.startswith("/") else at
        names += aim.split("/")[::-1]
    return at


def _at_once(path: str, flags: int) -> int:
    """Open a device, or a pipe that somebody reads; one that nobody reads would be waited for without end."""
    if not hasattr(os, "O_NONBLOCK"):
        return os.open(path, flags, 0o666)
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise OSError(error.errno, "nobody reads this pipe", path) from None
        raise
    os.set_blocking(descriptor, True)
    return descriptor


def _holds_a_checkpoint(path: str) -> bool:
    """Say whether a file begins as checkpoints begin: a slip of the command line must not cost a model."""
    from vqcheck.checkpoint.open import begins_as_checkpoint

    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        return begins_as_checkpoint(file.read(1 << 12))
