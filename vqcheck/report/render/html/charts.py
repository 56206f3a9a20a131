"""Line charts as inline SVG: all arms in one picture, told apart by colour and by dashes."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from vqcheck.language import localized, sentences, tr
from vqcheck.report import blocks as doc
from vqcheck.report.render.html.markup import Element, Node, element
from vqcheck.report.scales import Axis, counted, drawable, from_zero, label
from vqcheck.report.views.words import clauses

Point = tuple[float, float]

_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 24, 32
"""Margins around the plot."""
WIDE: Final = 560
"""Width of pictures that fill their card; the style sheet sets the size of their text by it."""
_HIGH: Final = 210
_DOTTED: Final = 40
"""Lines of at most so many points show each one."""
_POINTS: Final = 3_000
"""Points of all lines together, so that a browser draws them at once."""
_NAME: Final = 34
"""Letters of a mark that fit beside it."""
_EVENTS: Final = 8
"""Marks that have a line of their own for their names."""
_COLOURS: Final = 5
_DASHES: Final = (None, "7 4", "2 4", "10 3 2 3")
"""Lines are told apart by both; the numbers of colours and dashes have no common divisor."""


def line_chart(block: doc.LineChart, name: str, nodes: Callable[[doc.Inline], list[Node]]) -> list[Node]:
    """Return one picture of all lines, a legend, and what is to be known of it. Lines that are equal are drawn once."""
    points = [point for line in block.lines for point in line.points]
    x = counted(block.x_title, [at for at, _ in points])
    y = from_zero(block.y_title, [value for _, value in points])
    plot = _Plot(x, y, WIDE, _HIGH)
    same: dict[tuple[str, ...], list[doc.Line]] = {}
    for line in block.lines:
        same.setdefault(tuple(f"{at} {value}" for at, value in line.points), []).append(line)
    groups = list(same.values())
    most = max(_POINTS // max(len(groups), 1), 20)
    description = clauses(
        *(tr("{line}: {said}", line=line.name, said=line.said) if line.name else line.said for line in block.lines)
    )
    drawn = picture(
        name,
        block.title,
        description,
        (WIDE, _HIGH),
        *_frame(plot),
        *(part for number, (line, *_) in enumerate(groups) for part in _line(plot, line, most, number)),
        *_events(plot, block.lines),
    )
    keys = [_key(number, group, nodes) for number, group in enumerate(groups) if any(line.name for line in group)]
    return [
        element("ul", *keys, class_="legend") if keys else None,
        element("figure", drawn, class_="wide"),
        _about(block.lines, most),
    ]


def picture(name: str, title: str, description: str, size: tuple[int, int], *content: Node) -> Element:
    """Return an SVG that is one picture to a screen reader. `name` is unique on the page."""
    return element(
        "svg",
        element("title", title, id=f"{name}-title"),
        element("desc", description, id=f"{name}-desc"),
        *content,
        viewBox=f"0 0 {size[0]} {size[1]}",
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
    )


def thinned(points: Sequence[Point], most: int) -> list[Point]:
    """Return at most about `most` points, in each stretch the smallest and the greatest, so that no peak is lost."""
    if len(points) <= most:
        return list(points)
    stretches = max(most // 2 - 1, 1)
    kept = {0, len(points) - 1}
    for number in range(stretches):
        stretch = range(number * len(points) // stretches, (number + 1) * len(points) // stretches)
        finite = [at for at in stretch if math.isfinite(points[at][1])] or list(stretch[:1])
        kept |= {min(finite, key=lambda at: points[at][1]), max(finite, key=lambda at: points[at][1])}
    return [points[at] for at in sorted(kept)]


def _key(number: int, lines: Sequence[doc.Line], nodes: Callable[[doc.Inline], list[Node]]) -> Element:
    """Return a line of the legend: the sample, and what each line that looks like it is and comes to."""
    dots = element("path", d="M15 7h0", class_=f"{_look(number)} dots")
    sample = element("svg", _stroke(number, "path", d="M1 7h28"), dots, viewBox="0 0 30 14", aria_hidden="true")
    words: list[Node] = []
    for place, line in enumerate(lines):
        notes = [node for note in line.notes for node in (" ", *nodes(note))]
        last = place + 1 == len(lines) or lines[place + 1].said != line.said
        said = element("span", line.said, class_="quiet") if last and line.said else None
        words += [", " if place else None, element("b", line.name), *notes, " " if said else None, said]
    return element("li", sample, element("span", *words))


def _about(lines: Sequence[doc.Line], most: int) -> Node:
    """Say what the picture leaves out."""
    said = []
    longest = max((len(line.points) for line in lines), default=0)
    if longest > most:
        said.append(
            tr(
                "Of {longest} points, those with the smallest and the greatest value of each stretch "
                "are drawn, so no peak is lost.",
                longest=longest,
            )
        )
    broken = [line for line in lines if not all(drawable(value) for _, value in line.points)]
    if any(drawable(value) for line in broken for _, value in line.points):
        said.append(tr("A gap in a line is a value that is not known, not finite, or too large to draw."))
    return element("p", sentences(*said), class_="more") if said else None


class _Plot(NamedTuple):
    x: Axis
    y: Axis
    width: int
    height: int

    @property
    def right(self) -> int:
        return self.width - _RIGHT

    @property
    def bottom(self) -> int:
        return self.height - _BOTTOM

    def across(self, value: float) -> float:
        return _LEFT + self.x.share(min(max(value, self.x.low), self.x.high)) * (self.right - _LEFT)

    def up(self, value: float) -> float:
        return self.bottom - self.y.share(value) * (self.bottom - _TOP)


def _frame(plot: _Plot) -> Iterable[Node]:
    grid = "".join(f"M{_LEFT} {plot.up(tick):.1f}H{plot.right}" for tick in plot.y.ticks[1:])
    ticks = "".join(f"M{plot.across(tick):.1f} {plot.bottom}v4" for tick in plot.x.ticks)
    yield element("path", d=grid, class_="grid")
    yield element("path", d=f"M{_LEFT} {plot.bottom}H{plot.right}{ticks}", class_="axis")
    for tick in plot.y.ticks:
        yield element("text", label(tick), x=_LEFT - 6, y=f"{plot.up(tick) + 3.5:.1f}", class_="y")
    for tick in plot.x.ticks:
        yield element("text", label(tick), x=f"{plot.across(tick):.1f}", y=plot.bottom + 15, class_="x")
    yield element("text", plot.y.title, x=0, y=9)
    yield element("text", plot.x.title, x=plot.right, y=plot.height - 3, class_="y")


def _look(number: int) -> str:
    return f"line{number % _COLOURS}"


def _stroke(number: int, tag: str, **attributes: str) -> Element:
    return element(tag, class_=_look(number), stroke_dasharray=_DASHES[number % len(_DASHES)], **attributes)


def _line(plot: _Plot, line: doc.Line, most: int, number: int) -> Iterable[Node]:
    places = [(plot.across(x), plot.up(y) if drawable(y) else math.nan) for x, y in thinned(line.points, most)]
    run: list[str] = []
    for x, y in [*places, (0.0, math.nan)]:
        if math.isfinite(y):
            run.append(f"{x:.1f},{y:.1f}")
        elif run:
            yield _stroke(number, "polyline", points=" ".join(run))
            run = []
    shown = [place for place in places if math.isfinite(place[1])]
    if len(shown) <= _DOTTED:
        yield element("path", d="".join(f"M{x:.1f} {y:.1f}h0" for x, y in shown), class_=f"{_look(number)} dots")


def _fitting(name: str) -> str:
    return name if len(name) <= _NAME else f"{name[: _NAME // 2]}...{name[-_NAME // 3 :]}"


def _events(plot: _Plot, lines: Sequence[doc.Line]) -> Iterable[Node]:
    """Yield a mark for each place where something happened, with the name of the first of those that share it."""
    events: dict[float, doc.Event] = {}
    for line in lines:
        if line.event:
            events.setdefault(line.event.x, line.event)
    for number, event in enumerate(list(events.values())[:_EVENTS]):
        at = plot.across(event.x)
        left = at > (plot.width + _LEFT) / 2
        yield element("path", d=f"M{at:.1f} {_TOP - 4}V{plot.bottom}", class_="event")
        yield element(
            "text",
            _fitting(localized(event.name)),
            x=f"{at - 5 if left else at + 5:.1f}",
            y=_TOP + 5 + 16 * number,
            text_anchor="end" if left else "start",
            class_="mark",
        )
