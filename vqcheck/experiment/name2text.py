"""Reads `2-name2text.txt`: which phones each item has."""

import os
from typing import Final

from vqcheck.errors import UsageError
from vqcheck.experiment.text_lines import text_lines

FILE_NAME: Final = "2-name2text.txt"
_FIELDS: Final = 4
_MOST_DIFFERENT: Final = 10_000
_MOST_PHONES: Final = 16_000_000


def read_name2text(folder: str) -> dict[str, tuple[str, ...]]:
    """Return item name -> phones. Lines without exactly four tab-separated fields are passed over, as upstream does.

    Raises:
        UsageError: the file is missing, is no UTF-8 text, has no usable line, or more than any experiment.

    """
    path = os.path.join(folder, FILE_NAME)
    phones: dict[str, tuple[str, ...]] = {}
    known: dict[str, str] = {}
    count = 0
    for line in text_lines(path):
        fields = line.split("\t")
        if len(fields) == _FIELDS:
            # One text for each phone, however often it comes.
            phones[fields[0]] = tuple([known.setdefault(phone, phone) for phone in fields[1].split(" ")])
            count += len(phones[fields[0]])
            if len(known) > _MOST_DIFFERENT or count > _MOST_PHONES:
                raise UsageError(f"has more than {_MOST_DIFFERENT} different phones, or {_MOST_PHONES} in all", path)
    if not phones:
        raise UsageError("has no line of four tab-separated fields (name, phones, word2ph, text)", path)
    return phones
