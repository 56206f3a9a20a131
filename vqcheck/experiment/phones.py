"""Text symbols to ids.

The versions' own symbol tables belong to GPT-SoVITS and are not part of vqcheck. Which id a phone has never reaches the
VQ encoder, so any stable ids will do for a replay; with a symbol file they are exactly upstream's.
"""

from collections.abc import Iterable, Mapping

from vqcheck.checkpoint.file import open_regular_file
from vqcheck.errors import UsageError


def ids_from_file(path: str, table_size: int) -> dict[str, int]:
    """Return symbol -> id from a text file with one symbol a line, in the order of the version's table.

    Raises:
        UsageError: the file cannot be read, or has another number of symbols than the version.

    """
    try:
        with open(path, encoding="utf-8", opener=open_regular_file) as file:
            symbols = file.read().rstrip("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot be read as UTF-8 text: {error}", path) from None
    if len(symbols) != table_size:
        raise UsageError(f"has {len(symbols)} symbols, the version {table_size}", path)
    return {symbol: position for position, symbol in enumerate(symbols)}


def ids_in_sorted_order(items: Iterable[Iterable[str]], table_size: int) -> Mapping[str, int]:
    """Return symbol -> id for all symbols that occur, in sorted order.

    Raises:
        UsageError: more symbols occur than the version has.

    """
    symbols = sorted({symbol for phones in items for symbol in phones})
    if len(symbols) > table_size:
        raise UsageError(f"2-name2text.txt: has {len(symbols)} different phones, the version's table {table_size}")
    return {symbol: position for position, symbol in enumerate(symbols)}
