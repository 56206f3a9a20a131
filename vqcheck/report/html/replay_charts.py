"""The charts of a replay: commit_loss and drift of every arm over the steps, on shared scales, and their numbers."""

import math
from collections.abc import Callable, Sequence
from typing import Final

from vqcheck.replay.trace import OFF, Arm, StepTrace
from vqcheck.report.html.axis import counted, drawable, from_zero
from vqcheck.report.html.charts import Event, Line, Point, key, line_chart, thinned
from vqcheck.report.html.markup import Element, Node, element
from vqcheck.report.html.parts import section, short, table, tag
from vqcheck.report.words.replay import extent, number, reports_none

_POINTS: Final = 3_000
"""Points of all lines together."""
_CHARTS: Final = 8
"""Arms that get charts."""
_ROWS: Final = 10
"""Steps in a table of numbers."""


def sections(arms: Sequence[Arm]) -> tuple[Node, ...]:
    """Return a section of charts for commit_loss and one for drift; nothing of what no arm measured."""
    arms = [arm for arm in arms if arm.steps]
    if not arms:
        return ()
    return _commit_loss(arms), _drift(arms)


def numbers(arms: Sequence[Arm]) -> tuple[Node, ...]:
    """Return what the charts show as tables, of many steps a few."""
    arms = [arm for arm in arms if arm.steps][:_CHARTS]
    steps = sorted({step.step for arm in arms for step in arm.steps})
    if not steps:
        return ()
    last = len(steps) - 1
    chosen = sorted({steps[round(place * last / (_ROWS - 1))] for place in range(_ROWS)})
    some = f"{len(chosen)} of {len(steps)} steps" if len(chosen) < len(steps) else "every step"
    figures: list[tuple[str, str, Callable[[StepTrace], float]]] = [
        ("reported", "commit_loss as reported", lambda step: step.commit_loss),
        ("shadow", "commit_loss on the side", lambda step: step.shadow_commit_loss),
        ("drift", "Drift of the codes", lambda step: step.drift),
    ]
    head = ("Step", *(short(arm.strategy, 24) for arm in arms))
    looks = ("n", *("n" for _ in arms))
    tables = []
    for name, title, figure in figures:
        columns = [{step.step: figure(step) for step in arm.steps} for arm in arms]
        if any(math.isfinite(value) for column in columns for value in column.values()):
            rows = [(str(at), *(number(column[at]) if at in column else "" for column in columns)) for at in chosen]
            tables.append(table(f"numbers-{name}", f"{title}, {some}.", head, rows, looks, left_out="steps are"))
    return (section("The charts in numbers", *tables),)


def _commit_loss(arms: Sequence[Arm]) -> Node:
    reported = [_points(arm, lambda step: step.commit_loss) for arm in arms]
    shadow = [_points(arm, lambda step: step.shadow_commit_loss) for arm in arms]
    if not _any_drawn(reported + shadow):
        return None
    known = [value for points in reported + shadow for _, value in points]
    x, y = counted("training step", _steps(arms)), from_zero("commit_loss", known)
    figures = []
    for place, (arm, mine, side) in enumerate(zip(arms, reported, shadow, strict=True)):
        lines = [Line("second", _thin(side, arms)), Line("first", _thin(mine, arms))]
        off = bool(arm.steps) and all(step.commit_loss_state == OFF for step in arm.steps)
        said = "off in eval mode, so 0" if off else "not reported" if reports_none(arm) else extent(arm.commit_loss)
        description = (
            f"Reported: {said}. On the side: {extent(arm.shadow_commit_loss)}. Steps {arm.steps[0].step} to "
            f"{arm.steps[-1].step}."
        )
        title = f"commit_loss of {short(arm.strategy, 24)}"
        chart = line_chart(f"loss-{place}", title, description, lines, x, y)
        figures.append(_figure(arm, f"reported: {said}", chart))
    legend = element(
        "ul",
        key("first", "thin line: as the training code reports it") if _any_drawn(reported) else None,
        key("second", "broad line: computed on the side, whatever the mode") if _any_drawn(shadow) else None,
        class_="legend",
    )
    return section(
        "commit_loss",
        element(
            "p",
            "The mean squared distance between frames and their codes. A reported 0 is no evidence of anything: in "
            "eval mode it is not computed.",
        ),
        legend,
        _grid(figures),
        _about(arms, [points for points in reported + shadow if _any_drawn([points])]),
    )


def _drift(arms: Sequence[Arm]) -> Node:
    drift = [_points(arm, lambda step: step.drift) for arm in arms]
    x = counted("training step", _steps(arms))
    y = from_zero("distance from the start", [value for points in drift for _, value in points])
    figures = []
    for place, (arm, points) in enumerate(zip(arms, drift, strict=True)):
        end = number(points[-1][1])
        moved = any(value for _, value in points)
        said = f"{end} after step {arm.steps_run}" if moved else "0: no bit of the codes changed"
        event = None
        if arm.first_writes:
            first = arm.first_writes[0].first_changed_step
            event = Event(min(max(first, x.low), x.high), f"first write: step {first}")
        title = f"Drift of the codes under {short(arm.strategy, 24)}"
        chart = line_chart(f"drift-{place}", title, f"{said}.", [Line("first", _thin(points, arms))], x, y, event)
        figures.append(_figure(arm, said, chart))
    return section(
        "Drift of the codes",
        element(
            "p",
            "Euclidean distance of all codes from where they were at the start, in their own unit. A frozen codebook "
            "stays at exactly 0.",
        ),
        _grid(figures),
        _about(arms, drift),
    )


def _figure(arm: Arm, said: str, chart: Element) -> Element:
    control = tag("control") if arm.is_control else None
    caption = element(
        "figcaption", element("b", short(arm.strategy, 24)), control, element("span", said, class_="quiet")
    )
    return element("figure", caption, chart)


def _grid(figures: Sequence[Element]) -> Element:
    return element("div", *figures[:_CHARTS], class_="charts")


def _about(arms: Sequence[Arm], lines: Sequence[list[Point]]) -> Node:
    """Say what the charts have in common and what they leave out."""
    said = ["All charts have the same scales."] if len(arms) > 1 else []
    longest = max(len(arm.steps) for arm in arms)
    if longest > _most(arms):
        said.append(
            f"Of {longest} steps those with the smallest and the greatest value of each stretch are drawn, so no peak "
            "is lost."
        )
    if len(arms) > _CHARTS:
        said.append(f"{len(arms) - _CHARTS} more arms have no chart here.")
    if not all(_is_drawn(point) for points in lines for point in points):
        said.append("A gap in a line is a value that is not finite, or too large to draw.")
    return element("p", " ".join(said), class_="more") if said else None


def _points(arm: Arm, figure: Callable[[StepTrace], float]) -> list[Point]:
    return [(step.step, figure(step)) for step in arm.steps]


def _thin(points: list[Point], arms: Sequence[Arm]) -> list[Point]:
    return thinned(points, _most(arms))


def _most(arms: Sequence[Arm]) -> int:
    """Return how many points a line may have; there are three for each arm."""
    return max(_POINTS // (3 * min(len(arms), _CHARTS)), 20)


def _any_drawn(lines: Sequence[list[Point]]) -> bool:
    return any(_is_drawn(point) for points in lines for point in points)


def _is_drawn(point: Point) -> bool:
    return drawable(point[1])


def _steps(arms: Sequence[Arm]) -> list[int]:
    return [step.step for arm in arms for step in arm.steps]
