"""How wide the columns of a text are, and where what is too long for its own is broken."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from vqcheck.report.blocks import Column, Kind

if TYPE_CHECKING:
    from rich.text import Text

_SEAMS: Final = "_-./\\"
"""Behind these a name that is too long for its column is broken."""
_LEAST: Final = ({Kind.NAME: 24, Kind.PROSE: 24}, {Kind.NAME: 20, Kind.PROSE: 24})
"""Columns that cells which can be broken should have, and must have; where they have less, rows are laid out below each
other.
"""


def fit(columns: Sequence[Column], natural: Sequence[int], room: int) -> tuple[list[int], int] | None:
    """Return the widths of columns and the gap between them; None where there is no room for them beside each other.

    `natural` is what each would take.
    """
    for limits, gap in ((_LEAST[0], 2), (_LEAST[0], 1), (_LEAST[1], 1)):
        least = [min(wide, limits.get(column.kind, wide)) for column, wide in zip(columns, natural, strict=True)]
        gaps = gap * (len(columns) - 1)
        if sum(least) + gaps <= room:
            return _narrowed(natural, least, room - gaps), gap
    return None


def _narrowed(natural: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Return widths of columns that fit: what is lacking is taken from the widest ones."""
    widths = list(natural)
    while sum(widths) > room:
        widest = max(range(len(widths)), key=lambda place: widths[place] - least[place] and widths[place])
        others = [width for place, width in enumerate(widths) if place != widest and width < widths[widest]]
        aim = max(least[widest], max(others, default=0), widths[widest] - (sum(widths) - room))
        widths[widest] = min(aim, widths[widest] - 1)
    return widths


def at_seams(cell: "Text", width: int) -> "Text":
    """Return a cell in which words that are wider than the column are broken between the parts of a name."""
    from rich.cells import cell_len
    from rich.text import Text

    cuts: list[int] = []
    for match in re.finditer(r"\S+", cell.plain):
        start, end = match.span()
        while cell_len(cell.plain[start:end]) > width:
            fits = next(
                at for at in range(end - 1, start, -1) if cell_len(cell.plain[start:at]) <= width or at == start + 1
            )
            seam = max(cell.plain.rfind(sign, start, fits) + 1 for sign in _SEAMS)
            start = seam if seam - start > width // 2 else fits
            cuts.append(start)
    return Text("\n").join(cell.divide(cuts)) if cuts else cell
