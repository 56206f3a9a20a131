"""Reads `2-name2text.txt`: which phones each item has."""

import os
from typing import Final

from vqcheck.checkpoint.regular import regular
from vqcheck.errors import UsageError

FILE_NAME: Final = "2-name2text.txt"
_FIELDS: Final = 4


def read_name2text(folder: str) -> dict[str, tuple[str, ...]]:
    """Return item name -> phones. Lines without exactly four tab-separated fields are passed over, as upstream does.

    Raises:
        UsageError: the file is missing, is no UTF-8 text, or has no usable line.

    """
    path = os.path.join(folder, FILE_NAME)
    try:
        with open(path, encoding="utf-8", opener=regular) as file:
            lines = file.read().strip("\n").split("\n")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: is no UTF-8 text") from None
    fields = [line.split("\t") for line in lines]
    phones = {line[0]: tuple(line[1].split(" ")) for line in fields if len(line) == _FIELDS}
    if not phones:
        raise UsageError(f"{path}: has no line of four tab-separated fields (name, phones, word2ph, text)")
    return phones
