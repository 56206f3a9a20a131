"""Heat strips: every code of a codebook as a small field, coloured by how far it moved."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from vqcheck.report.html import classes
from vqcheck.report.html.charts import picture
from vqcheck.report.html.markup import Element, Node, element

STILL: Final = -1
NOT_FINITE: Final = 9
"""Classes beside those by size."""
_ACROSS: Final = 32
_FIELDS: Final = 1_024
"""Fields of one codebook; of several codebooks each has one line of `_LINE` fields."""
_LINE: Final = 64
_LINES: Final = 32
_LEFT: Final = 40


@dataclass(frozen=True, slots=True)
class Strip:
    """One codebook: its name and how far each of its codes moved."""

    name: str
    moved: Sequence[float]


def kind(moved: float, upper: Sequence[float]) -> int:
    """Return the class of one code: by size, or `STILL`, or `NOT_FINITE`."""
    if not math.isfinite(moved):
        return NOT_FINITE
    return classes.of(moved, upper) if moved > 0 and upper else STILL


def heat_strip(strips: Sequence[Strip], upper: Sequence[float], description: str) -> Element:
    """Return the picture of one codebook as a block of lines, or of several as one line each.

    `upper` are the limits of the classes, see `classes.limits`; the last has the strongest colour, however few there
    are.
    """
    if len(strips) == 1:
        return _block(strips[0], upper, description)
    return _lines(strips[:_LINES], upper, description)


def about(strips: Sequence[Strip]) -> str:
    """Say how to read the picture, and what it sums up or leaves out."""
    if len(strips) == 1:
        count = len(strips[0].moved)
        each = _share(count, _FIELDS)
        said = f"{min(_ACROSS, count)} fields a line, code 0 at the top left." if each == 1 else ""
        return said or f"A field stands for {each} codes in a row and shows the one that moved most."
    longest = max(len(strip.moved) for strip in strips)
    each = _share(longest, _LINE)
    said = "One line for each codebook that changed, code 0 on the left."
    if each > 1:
        said += f" A field stands for up to {each} codes in a row and shows the one that moved most."
    if len(strips) > _LINES:
        said += f" {len(strips) - _LINES} more codebooks are not drawn."
    return said


def swatch(number: int, upper: Sequence[float]) -> Element:
    """Return a field of the colour of a class, for a legend."""
    return element(
        "svg",
        element("path", d="M0 7h14", class_=_look(number, upper), stroke_width=14),
        element("path", d="M.5.5h13v13h-13z", class_="edge"),
        viewBox="0 0 14 14",
        class_="swatch",
        aria_hidden="true",
    )


def _block(strip: Strip, upper: Sequence[float], description: str) -> Element:
    each = _share(len(strip.moved), _FIELDS)
    fields = _fields(strip.moved, each, upper)
    across = min(_ACROSS, len(fields))
    lines = [fields[start : start + across] for start in range(0, len(fields), across)]
    size = 10
    every = max(len(lines) // 8, 1)
    names: list[Node] = [
        element("text", str(number * across * each), x=_LEFT - 6, y=number * size + 8.5, text_anchor="end")
        for number in range(0, len(lines), every)
    ]
    return picture(
        "heat",
        "Change of every code",
        description,
        (_LEFT + _ACROSS * size, len(lines) * size),
        *names,
        _cells(lines, size, size, size, upper),
    )


def _lines(strips: Sequence[Strip], upper: Sequence[float], description: str) -> Element:
    each = _share(max(len(strip.moved) for strip in strips), _LINE)
    high, pitch, wide = 10, 12, 5
    names: list[Node] = [
        element("text", strip.name[-8:], x=_LEFT - 6, y=number * pitch + 8.5, text_anchor="end")
        for number, strip in enumerate(strips)
    ]
    return picture(
        "heat",
        "Change of every code, one line for each codebook",
        description,
        (_LEFT + _LINE * wide, len(strips) * pitch),
        *names,
        _cells([_fields(strip.moved, each, upper) for strip in strips], wide, high, pitch, upper),
    )


def _fields(moved: Sequence[float], each: int, upper: Sequence[float]) -> list[int]:
    """Return the class of each field: that of the code that moved furthest."""
    groups = (moved[start : start + each] for start in range(0, len(moved), each))
    return [kind(max(group) if all(map(math.isfinite, group)) else math.nan, upper) for group in groups]


def _cells(lines: Iterable[Sequence[int]], wide: int, high: int, pitch: int, upper: Sequence[float]) -> Element:
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
        *(element("path", d="".join(runs), class_=_look(number, upper)) for number, runs in sorted(paths.items())),
        class_="cells",
        stroke_width=high,
        shape_rendering="crispEdges",
    )


def _share(count: int, fields: int) -> int:
    """Return how many codes one field stands for."""
    return max(math.ceil(count / fields), 1)


def _look(number: int, upper: Sequence[float]) -> str:
    if number in (STILL, NOT_FINITE):
        return "s-" if number == STILL else "s9"
    last = len(upper) - 1
    return f"s{5 - (last - number) * 5 // max(last, 1)}"
