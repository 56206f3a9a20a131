"""Line charts as inline SVG, with axes, units and ticks, whose text alternative stands in the picture."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from vqcheck.report.html.axis import Axis, drawable, label
from vqcheck.report.html.markup import Element, Node, element

Point = tuple[float, float]

_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 24, 32
"""Margins around the plot."""
_DOTTED: Final = 40
"""Lines of at most so many points show each one."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart: its values over x, in order of x. Where a value is not finite there is a gap."""

    look: str
    """`first` (thin, in front) or `second` (broad, behind)."""
    points: Sequence[Point]


@dataclass(frozen=True, slots=True)
class Event:
    """A place on the x axis that is named in the chart."""

    x: float
    name: str


def line_chart(
    name: str,
    title: str,
    description: str,
    lines: Sequence[Line],
    x: Axis,
    y: Axis,
    event: Event | None = None,
    *,
    size: tuple[int, int] = (340, 190),
) -> Element:
    """Return a chart. `name` is unique on the page; title and description say in words what the chart shows."""
    width, height = size
    plot = _Plot(x, y, width, height)
    return picture(
        name,
        title,
        description,
        size,
        *_frame(plot),
        *(part for line in lines for part in _line(plot, line)),
        *(_event(plot, event) if event else ()),
    )


def picture(name: str, title: str, description: str, size: tuple[int, int], *content: Node) -> Element:
    """Return an SVG that is one picture to a screen reader."""
    return element(
        "svg",
        element("title", title, id=f"{name}-title"),
        element("desc", description, id=f"{name}-desc"),
        *content,
        viewBox=f"0 0 {size[0]} {size[1]}",
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
    )


def key(look: str, words: str) -> Element:
    """Return an item of a legend: the line as it looks in the chart, and what it is."""
    sample = element(
        "svg",
        element("path", d="M4 7h22", class_=look),
        element("path", d="M15 7h0", class_=f"{look} dots"),
        viewBox="0 0 30 14",
        aria_hidden="true",
    )
    return element("li", sample, words)


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


@dataclass(frozen=True, slots=True)
class _Plot:
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
        return _LEFT + self.x.share(value) * (self.right - _LEFT)

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


def _line(plot: _Plot, line: Line) -> Iterable[Node]:
    places = [(plot.across(x), plot.up(y) if drawable(y) else math.nan) for x, y in line.points]
    run: list[str] = []
    for x, y in [*places, (0.0, math.nan)]:
        if math.isfinite(y):
            run.append(f"{x:.1f},{y:.1f}")
        elif run:
            yield element("polyline", points=" ".join(run), class_=line.look)
            run = []
    shown = [place for place in places if math.isfinite(place[1])]
    if len(shown) <= _DOTTED:
        yield element("path", d="".join(f"M{x:.1f} {y:.1f}h0" for x, y in shown), class_=f"{line.look} dots")


def _event(plot: _Plot, event: Event) -> Iterable[Node]:
    at = plot.across(event.x)
    left = at > (plot.width + _LEFT) / 2
    yield element("path", d=f"M{at:.1f} {_TOP - 4}V{plot.bottom}", class_="event")
    yield element(
        "text",
        event.name,
        x=f"{at - 5 if left else at + 5:.1f}",
        y=_TOP + 5,
        text_anchor="end" if left else "start",
        class_="mark",
    )
