"""Rows under titles, as wide as they need to be; where the terminal is too narrow they are laid out in another way."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len

from vqcheck.report.text.page import Page, Span

_MARGIN: Final = "  "
_GAP: Final = 2
_NARROW_GAP: Final = 1
"""Blanks between columns where all fit on the terminal by that alone."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its title, and on which side short cells end."""

    title: str
    right: bool = False


def blocks(page: Page, columns: Sequence[Column], rows: Sequence[Sequence[Span]]) -> None:
    """Add a table; on a narrow terminal several below each other, each with the first column."""
    rows = _shown(page, rows)
    widths = _widths(columns, rows)
    gap = _NARROW_GAP if _total(widths, _NARROW_GAP) <= page.width < _total(widths, _GAP) else _GAP
    first, rest = 0, list(range(1, len(columns)))
    while rest:
        taken = _fitting(page, widths, gap, rest)
        shown = [first, *rest[:taken]]
        chosen = [columns[i] for i in shown], [widths[i] for i in shown]
        _titles(page, *chosen, gap)
        for row in rows:
            _row(page, *chosen, [row[i] for i in shown], gap)
        rest = rest[taken:]
        if rest:
            page.blank()


def named_rows(page: Page, columns: Sequence[Column], rows: Sequence[Sequence[Span]], *, widest: int) -> None:
    """Add a table whose first column is a name of any length; one that is too long stands above its row.

    Names take `widest` columns at most; where a terminal has less room than the longest takes, all stand above.
    """
    rows = _shown(page, rows)
    widths = _widths(columns, rows)
    names = [cell_len(_text(row[0])) for row in rows]
    widths[0] = max([cell_len(columns[0].title), *(name for name in names if name <= widest)])
    if page.width and _total(widths, _GAP) > page.width:
        widths[0] = 0
        page.line((_MARGIN + columns[0].title, "bold"))
    _titles(page, columns, widths, _GAP)
    for row in rows:
        name, *cells = row
        if cell_len(_text(name)) > widths[0]:
            page.line(_MARGIN, name, indent=len(_MARGIN) * 2)
            name = ""
        _row(page, columns, widths, [name, *cells], _GAP)


def _titles(page: Page, columns: Sequence[Column], widths: Sequence[int], gap: int) -> None:
    titles = [(column.title if width else "", "bold") for column, width in zip(columns, widths, strict=True)]
    _row(page, columns, widths, titles, gap)


def _row(page: Page, columns: Sequence[Column], widths: Sequence[int], cells: Sequence[Span], gap: int) -> None:
    spans: list[Span] = []
    for column, width, cell in zip(columns, widths, cells, strict=True):
        text, look = (cell, "") if isinstance(cell, str) else cell
        blanks = " " * (width - cell_len(text))
        spans += [
            (" " * gap if spans else _MARGIN) + (blanks if column.right else ""),
            (text, look),
            "" if column.right else blanks,
        ]
    page.line(*spans)


def _fitting(page: Page, widths: Sequence[int], gap: int, rest: Sequence[int]) -> int:
    """Return how many of the remaining columns fit beside the first one; always one."""
    taken = 1
    while taken < len(rest) and (
        not page.width or _total([widths[0], *(widths[i] for i in rest[: taken + 1])], gap) <= page.width
    ):
        taken += 1
    return taken


def _total(widths: Sequence[int], gap: int) -> int:
    return len(_MARGIN) + sum(widths) + gap * (len(widths) - 1)


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[Span]]) -> list[int]:
    return [
        max([cell_len(column.title), *(cell_len(_text(row[number])) for row in rows)])
        for number, column in enumerate(columns)
    ]


def _shown(page: Page, rows: Sequence[Sequence[Span]]) -> list[list[Span]]:
    """Return the cells as the stream shows them, which is what is measured."""
    return [
        [page.shown(cell) if isinstance(cell, str) else (page.shown(cell[0]), cell[1]) for cell in row] for row in rows
    ]


def _text(cell: Span) -> str:
    return cell if isinstance(cell, str) else cell[0]
