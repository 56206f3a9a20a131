"""Reads `6-name2semantic.tsv`: which tokens each recording was given, as stage 1 is trained on them."""

import os
import re
from dataclasses import dataclass
from typing import Final

from vqcheck.checkpoint.regular import regular
from vqcheck.errors import UsageError

MERGED: Final = "6-name2semantic.tsv"
HEADER: Final = "item_name\tsemantic_audio"

_PART: Final = re.compile(r"6-name2semantic-(\d{1,6})\.tsv")
_TOKEN_DIGITS: Final = 9
"""Longer numbers are no tokens of any codebook."""


@dataclass(frozen=True, slots=True)
class Row:
    """One recording and its tokens."""

    item: str
    tokens: tuple[int, ...]
    line: str
    """`file:number`"""


@dataclass(frozen=True, slots=True)
class Name2Semantic:
    """The rows of a merged file, or of the parts that several processes have written."""

    files: tuple[str, ...]
    rows: tuple[Row, ...]
    malformed: tuple[tuple[str, str], ...]
    """(`file:number`, what is wrong) of lines that hold no tokens."""
    headless: bool
    """The merged file begins with an item, which stage 1 takes for the header and loses."""
    leftover_parts: tuple[str, ...] = ()
    """Parts beside a merged file. Upstream deletes them, and nothing reads them any more."""


def read_name2semantic(folder: str) -> Name2Semantic:
    """Return the tokens recorded in an experiment directory.

    The merged file is used where there is one, else its parts `6-name2semantic-<i>.tsv` in order. A missing header,
    Windows line ends, a byte order mark and blank lines (which an empty part leaves behind) are accepted.

    Raises:
        UsageError: there is no such file, it cannot be read, or it holds no row.

    """
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be listed: {error.strerror}") from None
    numbers = {name: int(match[1]) for name in names if (match := _PART.fullmatch(name))}
    parts = tuple(sorted(numbers, key=lambda name: numbers[name]))
    files = (MERGED,) if MERGED in names else parts
    if not files:
        raise UsageError(f"{folder}: holds no {MERGED} (nor parts of it): extract the tokens first")
    rows: list[Row] = []
    malformed: list[tuple[str, str]] = []
    headless = False
    for name in files:
        first = True
        for number, line in enumerate(_lines(os.path.join(folder, name)), start=1):
            if not line.strip():
                continue
            if first and line.rstrip() == HEADER:
                first = False
                continue
            headless = headless or (first and name == MERGED)
            first = False
            row = _row(line, f"{name}:{number}")
            if isinstance(row, Row):
                rows.append(row)
            else:
                malformed.append((f"{name}:{number}", row))
    if not rows and not malformed:
        raise UsageError(f"{os.path.join(folder, files[0])}: holds no tokens")
    return Name2Semantic(files, tuple(rows), tuple(malformed), headless, parts if files == (MERGED,) else ())


def _lines(path: str) -> list[str]:
    try:
        with open(path, "rb", opener=regular) as file:
            data = file.read()
        # Not splitlines(): a name may hold what Unicode counts as a line end.
        return [line.removesuffix("\r") for line in data.decode("utf-8-sig").split("\n")]
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not UTF-8 (byte {error.start})") from None


def _row(line: str, where: str) -> Row | str:
    """Return a row, or what is wrong with its line."""
    fields = line.split("\t")
    if len(fields) < 2 or not fields[0]:
        return "is no item and its tokens with a tab between them"
    # Stage 1 uses the first two columns and ignores the rest.
    words = fields[1].split()
    if not words:
        return f"{fields[0]}: has no tokens"
    wrong = next(
        (word for word in words if not (word.isascii() and word.isdigit() and len(word) <= _TOKEN_DIGITS)), None
    )
    if wrong is not None:
        return f"{fields[0]}: {wrong[:20]!r} is no token"
    return Row(fields[0], tuple(map(int, words)), where)
