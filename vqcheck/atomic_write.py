"""Writes a file as a whole or not at all: a temporary file beside it is renamed once its content is on the disk.

Whatever happens meanwhile, the old file stays as it was. A process that is killed while it writes leaves its temporary
file behind, `.NAME.*.vqcheck`, which nothing reads.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import BinaryIO, Final

_LONGEST_NAME: Final = 255
"""Bytes; what every file system in use allows."""


@contextlib.contextmanager
def atomic_write(path: str) -> Iterator[BinaryIO]:
    """Give a stream whose content becomes the file at the end, unless something raises before.

    A link is replaced, not followed. Permissions are those of the old file, or of any new one.

    Raises:
        OSError: it cannot be written.

    """
    temporary = _temporary_name(path)
    with open(temporary, "xb") as stream:
        try:
            yield stream
            stream.flush()
            # A full disk may show only here; and a name must not be on the disk before its content.
            os.fsync(stream.fileno())
            stream.close()  # Windows renames closed files only
            with contextlib.suppress(FileNotFoundError):
                os.chmod(temporary, stat.S_IMODE(os.stat(path).st_mode))
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                stream.close()
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise


def _temporary_name(path: str) -> str:
    """Return a name beside the file that no other process uses."""
    folder, name = os.path.split(path)
    ending = f".{os.urandom(8).hex()}.vqcheck"
    kept = os.fsencode(name)[: _LONGEST_NAME - len(ending) - 1]
    return os.path.join(folder, f".{os.fsdecode(kept)}{ending}")
