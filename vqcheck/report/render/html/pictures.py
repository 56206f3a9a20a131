"""Heat maps, bars and divided bars as inline SVG, whose text alternative stands in the picture."""

import math
from collections.abc import Iterable, Sequence
from typing import Final

from vqcheck.language import sentences, tr, trn
from vqcheck.report import blocks as doc
from vqcheck.report.render.html.charts import WIDE, picture
from vqcheck.report.render.html.markup import Element, Node, element
from vqcheck.report.scales import NOT_FINITE, STILL, class_of

_ACROSS: Final = 32
_FIELDS: Final = 1_024
"""Fields of one codebook; of several codebooks each has one line of `_LINE` fields."""
_LINE: Final = 64
_LINES: Final = 32
_LEFT: Final = 40


def heat_map(block: doc.HeatMap, name: str) -> tuple[Element, str]:
    """Return one codebook as a block of lines, or several as one line each, and how to read the picture."""
    if len(block.strips) == 1:
        return _one_codebook(block, name)
    return _several_codebooks(block, name)


def swatch(number: int, limits: Sequence[float]) -> Element:
    """Return a field of the colour of a class, for a legend."""
    return element(
        "svg",
        element("path", d="M0 7h14", class_=_look(number, limits), stroke_width=14),
        element("path", d="M.5.5h13v13h-13z", class_="edge"),
        viewBox="0 0 14 14",
        class_="swatch",
        aria_hidden="true",
    )


def _one_codebook(block: doc.HeatMap, name: str) -> tuple[Element, str]:
    (strip,) = block.strips
    each = _share(len(strip.values), _FIELDS)
    fields = _fields(strip.values, each, block.limits)
    across = min(_ACROSS, len(fields))
    lines = [fields[start : start + across] for start in range(0, len(fields), across)]
    size = 10
    names = [
        _name(str(number * across * each), number * size) for number in range(0, len(lines), max(len(lines) // 8, 1))
    ]
    cells = _cells(lines, size, size, size, block.limits)
    drawn = picture(name, block.title, block.description, (_LEFT + _ACROSS * size, len(lines) * size), *names, cells)
    if each == 1:
        return drawn, tr("{across} fields a line, code 0 at the top left.", across=across)
    return drawn, tr("A field stands for {each} codes in a row and shows the one that moved most.", each=each)


def _several_codebooks(block: doc.HeatMap, name: str) -> tuple[Element, str]:
    strips: Sequence[doc.Strip] = block.strips[:_LINES]
    each = _share(max(len(strip.values) for strip in block.strips), _LINE)
    high, pitch, wide = 10, 12, 5
    names = [_name(strip.name[-8:], number * pitch) for number, strip in enumerate(strips)]
    lines = [_fields(strip.values, each, block.limits) for strip in strips]
    cells = _cells(lines, wide, high, pitch, block.limits)
    drawn = picture(name, block.title, block.description, (_LEFT + _LINE * wide, len(strips) * pitch), *names, cells)
    said = [tr("One line for each codebook, code 0 on the left.")]
    if each > 1:
        said.append(tr("A field stands for up to {each} codes in a row and shows the one that moved most.", each=each))
    if len(block.strips) > _LINES:
        more = len(block.strips) - _LINES
        said.append(trn("{number} more codebook is not drawn.", "{number} more codebooks are not drawn.", more))
    return drawn, sentences(*said)


def _name(text: str, down: int) -> Node:
    return element("text", text, x=_LEFT - 6, y=down + 8.5, text_anchor="end")


def _fields(values: Sequence[float], each: int, limits: Sequence[float]) -> list[int]:
    """Return the class of each field: that of the code with the greatest value."""
    groups = (values[start : start + each] for start in range(0, len(values), each))
    return [class_of(max(group) if all(map(math.isfinite, group)) else math.nan, limits) for group in groups]


def _cells(lines: Iterable[Sequence[int]], wide: int, high: int, pitch: int, limits: Sequence[float]) -> Element:
    """Return one path for each class: strokes over runs of equal fields."""
    paths: dict[int, list[str]] = {}
    for number, line in enumerate(lines):
        start = 0
        for place in range(1, len(line) + 1):
            if place == len(line) or line[place] != line[start]:
                x, y = _LEFT + start * wide, number * pitch + high // 2
                paths.setdefault(line[start], []).append(f"M{x} {y}h{(place - start) * wide}")
                start = place
    return element(
        "g",
        *(element("path", d="".join(runs), class_=_look(number, limits)) for number, runs in sorted(paths.items())),
        class_="cells",
        stroke_width=high,
        shape_rendering="crispEdges",
    )


def _share(count: int, fields: int) -> int:
    """Return how many codes one field stands for."""
    return max(math.ceil(count / fields), 1)


def _look(number: int, limits: Sequence[float]) -> str:
    """Return the class of the style sheet: the last class of sizes has the strongest colour, however few there are."""
    if number in (STILL, NOT_FINITE):
        return "s-" if number == STILL else "s9"
    last = len(limits) - 1
    return f"s{5 - (last - number) * 5 // max(last, 1)}"


def bars(block: doc.Bars, name: str) -> list[Node]:
    """Return two bars for each row, with their numbers, and what the upper and the lower one are."""
    width, left, right, high, top = WIDE, 110, 50, 40, 18
    most = max((max(a, b) for _, a, b in block.rows), default=0) or 1
    parts: list[Node] = [
        element("text", block.row_title, x=0, y=9),
        element("text", block.count_title, x=width, y=9, text_anchor="end"),
    ]
    for number, (title, a, b) in enumerate(block.rows):
        y = top + number * high
        parts.append(element("text", title, x=left - 8, y=y + 23, text_anchor="end"))
        for found, look, down in ((a, "bar-a", 4), (b, "bar-b", 20)):
            long = max(found * (width - left - right) / most, 1 if found else 0)
            parts.append(element("rect", x=left, y=y + down, width=f"{long:.1f}", height=14, class_=look))
            parts.append(element("text", str(found), x=f"{left + long + 5:.1f}", y=y + down + 10))
    bottom = top + len(block.rows) * high + 4
    parts.append(element("path", d=f"M{left} {top}V{bottom - 2}", class_="axis"))
    keys = [_bar_key(look, words) for look, words in zip(("bar-a", "bar-b"), block.legend, strict=True)]
    drawn = picture(name, block.title, block.description, (width, bottom), *parts)
    return [element("ul", *keys, class_="legend"), element("figure", drawn, class_="wide")]


def _bar_key(look: str, words: str) -> Element:
    rect = element("rect", x=2, y=2, width=26, height=10, class_=look)
    return element("li", element("svg", rect, viewBox="0 0 30 14", aria_hidden="true"), words)


def proportions(block: doc.Proportions, name: str) -> Element:
    """Return one bar that is divided among the parts; each that is not empty can be seen, however small."""
    width, high = 640.0, 26
    whole = sum(part.number for part in block.parts) or 1
    drawn, at = [], 0.0
    for part in block.parts:
        long = width * part.number / whole
        if part.number:
            x = f"{min(at, width - 2):.1f}"
            look = f"part-{part.tone.value}"
            drawn.append(element("rect", x=x, y=0, width=f"{max(long, 2):.1f}", height=high, class_=look))
        at += long
    return picture(name, block.title, block.description, (int(width), high), *drawn)
