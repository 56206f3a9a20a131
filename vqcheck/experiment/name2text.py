"""Reads `2-name2text.txt`: which phones each item has, and gives each phone an id.

The versions' own symbol tables belong to GPT-SoVITS and are not part of vqcheck. Which id a phone has never reaches the
VQ encoder, so any stable ids will do for a replay; with a symbol file they are exactly upstream's.
"""

import os
from collections.abc import Iterable, Mapping
from typing import Final

from vqcheck.checkpoint.file import open_regular_file
from vqcheck.errors import UsageError
from vqcheck.experiment.name2semantic import text_lines
from vqcheck.language import tr

FILE_NAME: Final = "2-name2text.txt"
_FIELDS: Final = 4
_MOST_DIFFERENT: Final = 10_000
_MOST_PHONES: Final = 16_000_000


def read_name2text(folder: str) -> dict[str, tuple[str, ...]]:
    """Return item name -> phones. Lines without exactly four tab-separated fields are skipped, as upstream does.

    Raises:
        UsageError: the file is missing, is not UTF-8 text, has no usable line, or more than any experiment.

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
                raise UsageError(
                    tr(
                        "has more than {most_different} different phones, or {most_phones} in all",
                        most_different=_MOST_DIFFERENT,
                        most_phones=_MOST_PHONES,
                    ),
                    path,
                )
    if not phones:
        raise UsageError(tr("has no line of four tab-separated fields (name, phones, word2ph, text)"), path)
    return phones


def ids_from_file(path: str, table_size: int) -> dict[str, int]:
    """Return symbol -> id from a text file with one symbol a line, in the order of the version's table.

    Raises:
        UsageError: the file cannot be read, or has another number of symbols than the version.

    """
    try:
        with open(path, encoding="utf-8", opener=open_regular_file) as file:
            symbols = file.read().rstrip("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(tr("cannot be read as UTF-8 text: {error}", error=str(error)), path) from None
    if len(symbols) != table_size:
        raise UsageError(
            tr("has {symbols} symbols, the version {table_size}", symbols=len(symbols), table_size=table_size), path
        )
    return {symbol: position for position, symbol in enumerate(symbols)}


def ids_in_sorted_order(items: Iterable[Iterable[str]], table_size: int) -> Mapping[str, int]:
    """Return symbol -> id for all symbols that occur, in sorted order.

    Raises:
        UsageError: more symbols occur than the version has.

    """
    symbols = sorted({symbol for phones in items for symbol in phones})
    if len(symbols) > table_size:
        raise UsageError(
            tr(
                "2-name2text.txt: has {symbols} different phones, the version's table {table_size}",
                symbols=len(symbols),
                table_size=table_size,
            )
        )
    return {symbol: position for position, symbol in enumerate(symbols)}
