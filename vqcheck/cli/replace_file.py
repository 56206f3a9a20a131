"""Writes a report or a lock to the file that the user named, as a whole or not at all."""

import os

from vqcheck.errors import UsageError


def replace_file(path: str, report: str) -> None:
    """Write a text file that replaces an old one only when it is complete. A link is followed, a device written to.

    Raises:
        UsageError: it cannot be written, or holds a checkpoint; an old file is left as it was.

    """
    from vqcheck.whole_file import whole_file

    content = report.encode("utf-8", "backslashreplace")
    target = os.path.realpath(path)
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            with open(path, "wb") as stream:
                stream.write(content)
            return
        if os.path.islink(target):
            os.stat(target)  # a loop of links, which is told apart only here
        if _holds_a_checkpoint(target):
            raise UsageError(f"{path}: is a checkpoint; the output must go to another file")
        with whole_file(target) as stream:
            stream.write(content)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from None


def _holds_a_checkpoint(path: str) -> bool:
    """Say whether a file begins as checkpoints begin: a slip of the command line must not cost a model."""
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        head = file.read(9)
    return head[2:4] == b"\x03\x04" or head[:1] == b"\x80" or head[8:9] == b"{"
