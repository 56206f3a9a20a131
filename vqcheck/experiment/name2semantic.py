"""Reads `6-name2semantic.tsv`: which tokens each recording was given, as stage 1 is trained on them."""

import os
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from vqcheck.checkpoint.file import open_regular_file
from vqcheck.errors import UsageError
from vqcheck.language import tr

MERGED: Final = "6-name2semantic.tsv"
HEADER: Final = "item_name\tsemantic_audio"

_PART: Final = re.compile(r"6-name2semantic-(\d{1,6})\.tsv")
_TOKEN_DIGITS: Final = 6
"""Longer numbers are tokens of no codebook."""
_MOST_BYTES: Final = 1 << 30
"""The tokens of 1,000 hours of speech take less than half of it."""
_LONGEST_LINE: Final = 1 << 20
"""Bytes of the longest line; a minute of speech takes about 10,000."""
_MOST_LINES: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One recording and its tokens."""

    item: str
    tokens: Sequence[int]
    line: str
    """`file:number`"""


@dataclass(frozen=True, slots=True)
class Name2Semantic:
    """The rows of a merged file, or of the parts that several processes have written."""

    files: tuple[str, ...]
    rows: tuple[TokenRow, ...]
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
        raise UsageError(tr("cannot be listed: {reason}", reason=error.strerror), folder) from None
    numbers = {name: int(match[1]) for name in names if (match := _PART.fullmatch(name))}
    parts = tuple(sorted(numbers, key=lambda name: numbers[name]))
    files = (MERGED,) if MERGED in names else parts
    if not files:
        raise UsageError(tr("holds no {merged} (nor parts of it): extract the tokens first", merged=MERGED), folder)
    rows: list[TokenRow] = []
    malformed: list[tuple[str, str]] = []
    headless = False
    for name in files:
        first = True
        for number, line in enumerate(text_lines(os.path.join(folder, name)), start=1):
            if not line.strip():
                continue
            if first and line.rstrip() == HEADER:
                first = False
                continue
            headless = headless or (first and name == MERGED)
            first = False
            row = _row(line, f"{name}:{number}")
            if isinstance(row, TokenRow):
                rows.append(row)
            else:
                malformed.append((f"{name}:{number}", row))
            if len(rows) + len(malformed) > _MOST_LINES:
                raise UsageError(tr("holds more than {most} items", most=_MOST_LINES), folder)
    if not rows and not malformed:
        raise UsageError(tr("holds no tokens"), os.path.join(folder, files[0]))
    return Name2Semantic(files, tuple(rows), tuple(malformed), headless, parts if files == (MERGED,) else ())


def _row(line: str, where: str) -> TokenRow | str:
    """Return a row, or what is wrong with its line."""
    fields = line.split("\t")
    if len(fields) < 2 or not fields[0]:
        return tr("is not an item and its tokens with a tab between them")
    # Stage 1 uses the first two columns and ignores the rest.
    words = fields[1].split()
    if not words:
        return tr("{item}: has no tokens", item=fields[0])
    digits = "".join(words)
    if not (digits.isascii() and digits.isdigit() and max(map(len, words)) <= _TOKEN_DIGITS):
        wrong = next(word for word in words if not (word.isascii() and word.isdigit() and len(word) <= _TOKEN_DIGITS))
        return tr("{item}: {word!r} is not a token", item=fields[0], word=wrong[:20])
    tokens = [int(word) for word in words]
    # Two bytes for each of a codebook in use: never more than the line has.
    return TokenRow(fields[0], array("H" if max(tokens) < 1 << 16 else "I", tokens), where)


def text_lines(path: str | os.PathLike[str]) -> Iterator[str]:
    """Yield the lines of a UTF-8 text without their ends; a byte order mark and Windows line ends are accepted.

    Raises:
        UsageError: the file cannot be read, is not UTF-8, or is larger than any experiment's.

    """
    at = 0
    try:
        with open(path, "rb", opener=open_regular_file) as file:
            # Not splitlines(): a name may hold what Unicode counts as a line end.
            for number in range(1, _MOST_LINES + 2):
                line = file.readline(_LONGEST_LINE + 1)
                if not line:
                    return
                if len(line) > _LONGEST_LINE:
                    raise UsageError(
                        tr(
                            "line {number} is longer than {most} bytes",
                            number=number,
                            most=_LONGEST_LINE,
                        ),
                        path,
                    )
                text = line.decode("utf-8-sig" if at == 0 else "utf-8")
                at += len(line)
                if number > _MOST_LINES or at > _MOST_BYTES:
                    raise UsageError(
                        tr(
                            "has more than {most} lines or {mebibytes} MiB",
                            most=_MOST_LINES,
                            mebibytes=_MOST_BYTES >> 20,
                        ),
                        path,
                    )
                yield text.removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise UsageError(tr("cannot be read: {reason}", reason=error.strerror), path) from None
    except UnicodeDecodeError as error:
        raise UsageError(tr("is not UTF-8 (byte {place})", place=at + error.start), path) from None
