"""The lines of a table that may be of any size and hold anything, one at a time and within bounds."""

import os
from collections.abc import Iterator
from typing import Final

from vqcheck.checkpoint.file import open_regular_file
from vqcheck.errors import UsageError

_MOST_BYTES: Final = 128 << 20
_LONGEST: Final = 1 << 20
"""Bytes of the longest line; a minute of speech takes about 10,000."""
MOST_LINES: Final = 500_000


def text_lines(path: str | os.PathLike[str]) -> Iterator[str]:
    """Yield the lines of a UTF-8 text without their ends; a byte order mark and Windows line ends are accepted.

    Raises:
        UsageError: the file cannot be read, is not UTF-8, or is larger than any experiment's.

    """
    at = 0
    try:
        with open(path, "rb", opener=open_regular_file) as file:
            # Not splitlines(): a name may hold what Unicode counts as a line end.
            for number in range(1, MOST_LINES + 2):
                line = file.readline(_LONGEST + 1)
                if not line:
                    return
                if len(line) > _LONGEST:
                    raise UsageError(f"line {number} is longer than {_LONGEST} bytes", path)
                text = line.decode("utf-8-sig" if at == 0 else "utf-8")
                at += len(line)
                if number > MOST_LINES or at > _MOST_BYTES:
                    raise UsageError(f"has more than {MOST_LINES} lines or {_MOST_BYTES >> 20} MiB", path)
                yield text.removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", path) from None
    except UnicodeDecodeError as error:
        raise UsageError(f"is not UTF-8 (byte {at + error.start})", path) from None
