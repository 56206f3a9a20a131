"""Writes a text file as a whole or not at all."""

import contextlib
import os

from vqcheck.errors import UsageError


def replace_file(path: str, report: str) -> None:
    """Write a text file under a temporary name beside it, then rename it. A link is followed, a device written to.

    Raises:
        UsageError: it cannot be written, or holds a checkpoint; an old file is left as it was.

    """
    import tempfile

    target = os.path.realpath(path)
    temporary = None
    try:
        if os.path.exists(target) and not os.path.isfile(target):
            with open(target, "w", encoding="utf-8", errors="backslashreplace") as stream:
                stream.write(report)
            return
        if _holds_a_checkpoint(target):
            raise UsageError(f"{path}: is a checkpoint; the output must go to another file")
        handle, temporary = tempfile.mkstemp(
            prefix=f".{os.path.basename(target)}.", suffix=".tmp", dir=os.path.dirname(target)
        )
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as stream:
            stream.write(report)
        if os.path.exists(target):
            os.chmod(temporary, os.stat(target).st_mode)
        else:
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, target)
        temporary = None
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _holds_a_checkpoint(path: str) -> bool:
    """Say whether a file begins as checkpoints begin: a slip of the command line must not cost a model."""
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        head = file.read(9)
    return head[2:4] == b"\x03\x04" or head[:1] == b"\x80" or head[8:9] == b"{"
