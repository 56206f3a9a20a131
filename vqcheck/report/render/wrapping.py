"""Lines of text no wider than a terminal, also of scripts that put no blanks between words."""

import itertools
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

# Rich is imported where there is more to show than one line: it takes longer than a comparison of equal files.

_WIDE: Final = "\u2e80-\u2fff\u3003-\u3007\u3021-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff10-\uff5a\uffe0-\uffe6"
"""Characters between which a line may be broken: Chinese, Japanese, Korean, and Latin ones of their width."""
_OPENING: Final = "（「『《〈【〔“‘"
_CLOSING: Final = "）」』》〉】〕”’，。、；：！？％…"
"""No line begins with these."""
_NAME: Final = r"[\w/\\.:<>-]*[_/\\][\w/\\.:<>-]*(?:\(\w*\))?"
"""A file, a key or a call, of whatever script."""
_BEFORE, _BEHIND = rf"[{_OPENING}(\['\"]*", rf"(?:[{_CLOSING}]|[,;:.!?)\]'\"](?![A-Za-z0-9]))*"
_PIECE: Final = re.compile(
    rf"\s+|{_BEFORE}(?:{_NAME}|[{_WIDE}]|[^\s{_WIDE}{_OPENING}{_CLOSING}]+){_BEHIND}|[{_OPENING}{_CLOSING}]+"
)
"""What is kept together."""


def wrapped(text: "Text", width: int, console: "Console") -> "list[Text]":
    """Return the lines of a text; what is wider than a line is cut where it must be."""
    if text.plain.isascii():
        return list(text.wrap(console, width, overflow="fold"))
    return [line for paragraph in text.split("\n", allow_blank=True) for line in _lines(paragraph, width)]


def wrapped_words(text: str, width: int) -> list[str]:
    """Return the lines of one paragraph without any style."""
    cuts = [0, *_cuts(text, width), len(text)]
    return [text[start:end].strip() for start, end in itertools.pairwise(cuts)]


def widest_piece(text: str) -> int:
    """Return the columns of the widest part of a text that is kept together."""
    from rich.cells import cell_len

    return max((cell_len(piece) for piece in _PIECE.findall(text) if not piece.isspace()), default=0)


def _lines(text: "Text", width: int) -> "list[Text]":
    lines = text.divide(_cuts(text.plain, width))
    for line in lines:
        line.rstrip()
    return list(lines)


def _cuts(text: str, width: int) -> Iterator[int]:
    """Yield the places at which lines begin, but the first."""
    from rich.cells import cell_len

    used = 0
    for match in _PIECE.finditer(text):
        wide = cell_len(match[0])
        if match[0].isspace():
            used += wide
            continue
        if used and used + wide > width:
            yield match.start()
            used = 0
        if wide <= width:
            used += wide
            continue
        for place, char in enumerate(match[0], start=match.start()):
            if used and used + cell_len(char) > width:
                yield place
                used = 0
            used += cell_len(char)
