"""How often codes are used, before and after: how many codes there are of each frequency."""

import math
from collections.abc import Sequence
from typing import Final

from vqcheck.report.html import classes
from vqcheck.report.html.charts import picture
from vqcheck.report.html.markup import Element, Node, element

_CLASSES: Final = 8
_LEFT, _RIGHT, _ROW = 78, 40, 30


def usage(a: Sequence[float], b: Sequence[float]) -> tuple[Element, list[tuple[Node, ...]]]:
    """Return the picture of two distributions, and the same as rows of a table: (frames a step, in A, in B)."""
    upper = classes.limits([*a, *b], _CLASSES)
    names = ["0", *classes.names(upper), "not finite"]
    found = list(zip(names, _counts(a, upper), _counts(b, upper), strict=True))
    rows = [row for row in found if row[0] not in (names[0], names[-1]) or row[1] or row[2]]
    return _picture(rows), [(name, str(in_a), str(in_b)) for name, in_a, in_b in rows]


def _counts(values: Sequence[float], upper: Sequence[float]) -> list[int]:
    """Return how many values are 0, in each class, and not finite."""
    used = [value for value in values if 0 < value < math.inf] if upper else []
    broken = sum(not math.isfinite(value) for value in values)
    return [len(values) - len(used) - broken, *classes.counts(used, upper), broken]


def _picture(rows: Sequence[tuple[str, int, int]]) -> Element:
    width, top = 340, 16
    most = max(max(in_a, in_b) for _, in_a, in_b in rows) or 1
    scale = (width - _LEFT - _RIGHT) / most
    parts: list[Node] = [element("text", "frames a step", x=0, y=9)]
    parts.append(element("text", "codes", x=width, y=9, text_anchor="end"))
    for number, (name, in_a, in_b) in enumerate(rows):
        y = top + number * _ROW
        parts.append(element("text", name, x=_LEFT - 8, y=y + 17, text_anchor="end"))
        for count, look, down in ((in_a, "bar-a", 4), (in_b, "bar-b", 15)):
            long = max(count * scale, 1 if count else 0)
            parts.append(element("rect", x=_LEFT, y=y + down, width=f"{long:.1f}", height=10, class_=look))
            parts.append(element("text", str(count), x=f"{_LEFT + long + 5:.1f}", y=y + down + 9))
    high = top + len(rows) * _ROW + 4
    parts.append(element("path", d=f"M{_LEFT} {top}V{high - 2}", class_="axis"))
    said = "; ".join(f"{name}: {in_a} in A, {in_b} in B" for name, in_a, in_b in rows)
    description = f"Codes by how many frames a step they get. {said}."
    return picture("usage", "Usage of the codes in A and in B", description, (width, high), *parts)
