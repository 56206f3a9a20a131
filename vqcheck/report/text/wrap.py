"""Breaks a line for a terminal, counting columns: a Chinese character takes two."""

import re
from typing import Final

from rich.cells import cell_len

_WORD: Final = re.compile(r"\S+")
_SEPARATORS: Final = re.compile(r"[/\\]")
_LEAST: Final = 12
"""Columns that must be left for the beginning of a word that is longer than any line."""


def pad(text: str, columns: int) -> str:
    """Return the text with blanks behind it until it is so many columns wide."""
    return text + " " * (columns - cell_len(text))


def lines(text: str, first: int, others: int, *, cut: bool = True) -> list[tuple[int, int]]:
    """Return (start, end) in `text` of each line, of which the first has `first` columns and the others `others`.

    A word is cut only where it is longer than a whole line, as a path may be, and preferably behind a separator of the
    path; with `cut=False` such a word is left to stand out.
    """
    found: list[tuple[int, int]] = []
    start = end = 0
    room = first
    for word in _WORD.finditer(text):
        begin, stop = word.span()
        if cell_len(text[start:stop]) <= room:
            end = stop
            continue
        whole = cell_len(word[0])
        left = room - cell_len(text[start:begin])
        starts_anew = whole <= others or not cut or left < min(_LEAST, others)
        if starts_anew and text[start:end].strip():
            found.append((start, end))
            start, room = begin, others
        while cut and cell_len(text[start:stop]) > room:
            middle = _fitting(text, start, begin, stop, room)
            found.append((start, middle))
            start = begin = middle
            room = others
        end = stop
    found.append((start, end))
    return found


def _fitting(text: str, start: int, begin: int, stop: int, room: int) -> int:
    """Return where to cut the word at `begin`, so that from `start` on no more than `room` columns are taken."""
    middle = begin
    columns = cell_len(text[start:begin])
    while middle < stop and columns + cell_len(text[middle]) <= room:
        columns += cell_len(text[middle])
        middle += 1
    separators = [match.end() for match in _SEPARATORS.finditer(text, begin, middle)]
    if separators and separators[-1] < stop and 2 * (separators[-1] - begin) >= middle - begin:
        return separators[-1]
    return max(middle, begin + 1)
