"""Line charts as inline SVG, with axes, units and ticks, whose text alternative stands in the picture."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from vqcheck.report.blocks import Event, Inline, Line, LineCharts, Panel
from vqcheck.report.render.html.markup import Element, Node, element
from vqcheck.report.scales import Axis, counted, drawable, from_zero, label

Point = tuple[float, float]

_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 24, 32
"""Margins around the plot."""
_SIZE, _ALONE = (340, 190), (480, 220)
_DOTTED: Final = 40
"""Lines of at most so many points show each one."""
_POINTS: Final = 3_000
"""Points of all charts together, so that a browser draws them at once."""


def line_charts(block: LineCharts, new_name: Callable[[], str], nodes: Callable[[Inline], list[Node]]) -> list[Node]:
    """Return the charts of all panels on one scale, with a legend of what is drawn and what is to be known of them."""
    lines = [line for panel in block.panels for line in panel.lines]
    points = [point for line in lines for point in line.points]
    x = counted(block.x_title, [at for at, _ in points])
    y = from_zero(block.y_title, [value for _, value in points])
    most = max(_POINTS // max(len(lines), 1), 20)
    size = _ALONE if len(block.panels) == 1 else _SIZE
    figures = [_figure(panel, new_name(), x, y, most, size, nodes) for panel in block.panels]
    return [
        _legend(block),
        element("div", *figures, class_="wide" if len(figures) == 1 else "charts"),
        _about(block, lines, most),
    ]


def _figure(
    panel: Panel, name: str, x: Axis, y: Axis, most: int, size: tuple[int, int], nodes: Callable[[Inline], list[Node]]
) -> Element:
    notes = [node for note in panel.notes for node in nodes(note)]
    heading = [element("b", panel.name), *notes] if panel.name else notes
    said = element("span", panel.said, class_="quiet") if panel.said else None
    caption = element("figcaption", *heading, said) if heading or said else None
    return element("figure", caption, _chart(panel, name, x, y, most, size))


def _chart(panel: Panel, name: str, x: Axis, y: Axis, most: int, size: tuple[int, int]) -> Element:
    plot = _Plot(x, y, *size)
    drawn = sorted(panel.lines, key=lambda line: not line.broad)
    return picture(
        name,
        panel.title,
        panel.description,
        size,
        *_frame(plot),
        *(part for line in drawn for part in _line(plot, thinned(line.points, most), _look(line))),
        *(_event(plot, panel.event) if panel.event else ()),
    )


def _look(line: Line) -> str:
    return "second" if line.broad else "first"


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


def _legend(block: LineCharts) -> Node:
    """Return what each kind of line is, of those that are drawn."""
    looks = {
        _look(line)
        for panel in block.panels
        for line in panel.lines
        if any(drawable(value) for _, value in line.points)
    }
    keys = [
        _key(look, words)
        for look, words in zip(("first", "second"), block.legend, strict=True)
        if words and look in looks
    ]
    return element("ul", *keys, class_="legend") if keys else None


def _key(look: str, words: str) -> Element:
    sample = element(
        "svg",
        element("path", d="M4 7h22", class_=look),
        element("path", d="M15 7h0", class_=f"{look} dots"),
        viewBox="0 0 30 14",
        aria_hidden="true",
    )
    return element("li", sample, words)


def _about(block: LineCharts, lines: Sequence[Line], most: int) -> Node:
    """Say what the charts have in common and what they leave out."""
    said = ["All charts have the same scales."] if len(block.panels) > 1 else []
    longest = max((len(line.points) for line in lines), default=0)
    if longest > most:
        said.append(
            f"Of {longest} points, those with the smallest and the greatest value of each stretch are drawn, so no "
            "peak is lost."
        )
    broken = [line for line in lines if not all(drawable(value) for _, value in line.points)]
    if any(drawable(value) for line in broken for _, value in line.points):
        said.append("A gap in a line is a value that is not known, not finite, or too large to draw.")
    return element("p", " ".join(said), class_="more") if said else None


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


def _line(plot: _Plot, points: Sequence[Point], look: str) -> Iterable[Node]:
    places = [(plot.across(x), plot.up(y) if drawable(y) else math.nan) for x, y in points]
    run: list[str] = []
    for x, y in [*places, (0.0, math.nan)]:
        if math.isfinite(y):
            run.append(f"{x:.1f},{y:.1f}")
        elif run:
            yield element("polyline", points=" ".join(run), class_=look)
            run = []
    shown = [place for place in places if math.isfinite(place[1])]
    if len(shown) <= _DOTTED:
        yield element("path", d="".join(f"M{x:.1f} {y:.1f}h0" for x, y in shown), class_=f"{look} dots")


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
