"""The losses and the drift of a replay over its steps: of all arms in one block, on one scale, and as numbers."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from vqcheck.replay.trace import NOT_REPORTED, OFF, Arm, LossRange, StepTrace
from vqcheck.report.blocks import (
    Column,
    Event,
    Inline,
    Kind,
    Line,
    LineCharts,
    Panel,
    Paragraph,
    Section,
    Shown,
    Table,
    Word,
    tag,
)
from vqcheck.report.scales import drawable
from vqcheck.report.views.words import number

_ROWS: Final = 10
"""Steps in a table of numbers."""
_Figure = Callable[[StepTrace], float]


def charts(arms: Sequence[Arm]) -> tuple[Section, ...]:
    """Return a section for commit_loss and one for the drift of the codes; without what no arm measured."""
    arms = [arm for arm in arms if arm.steps]
    return (_commit_loss(arms), _drift(arms)) if arms else ()


def _commit_loss(arms: Sequence[Arm]) -> Section:
    panels = []
    any_reported = any_shadow = False
    for arm in arms:
        mine, side = _points(arm, lambda step: step.commit_loss), _points(arm, lambda step: step.shadow_commit_loss)
        any_reported |= _drawn(mine)
        any_shadow |= _drawn(side)
        said = "0, because it is not computed in eval mode" if _is_off(arm) else reported(arm)
        description = (
            f"Reported: {said}. Shadow loss: {shadow(arm)}. Steps {arm.steps[0].step} to {arm.steps[-1].step}."
        )
        lines = [line for line, drawn in ((Line(side, broad=True), side), (Line(mine), mine)) if _drawn(drawn)]
        title = f"commit_loss of {arm.strategy}"
        panels.append(Panel(arm.strategy, said, title, description, lines, notes=_control(arm)))
    legend = (
        "thin line: as the training code reports it" if any_reported else "",
        "broad line: the shadow loss, computed in every mode" if any_shadow else "",
    )
    about = (
        "The mean squared distance between frames and their codes. A reported 0 is no evidence: eval mode does not "
        "compute it."
    )
    shown = (Shown.ALWAYS if any_reported else Shown.PAGE) if any_reported or any_shadow else Shown(0)
    lines_of_all = LineCharts("training step", "commit_loss", panels, Shown.ALWAYS, legend)
    return Section("commit_loss", (Paragraph(about, Shown.PAGE), lines_of_all), shown)


def _drift(arms: Sequence[Arm]) -> Section:
    panels = []
    for arm in arms:
        points = _points(arm, lambda step: step.drift)
        moved = any(value for _, value in points)
        end = f"{number(points[-1][1])} from the start"
        said = end if moved else "0: no bit of the codes changed"
        event = None
        if arm.first_writes:
            first = arm.first_writes[0].first_changed_step
            event = Event(min(max(first, points[0][0]), points[-1][0]), f"first write: step {first}")
        title = f"Drift of the codes under {arm.strategy}"
        panels.append(Panel(arm.strategy, said, title, f"{said}.", [Line(points)], event, _control(arm)))
    about = (
        "The Euclidean distance of all codes from the start, in their own unit. A frozen codebook stays at exactly 0."
    )
    block = LineCharts("training step", "distance from the start", panels, Shown.ALWAYS)
    return Section("Drift of the codes", (Paragraph(about, Shown.PAGE), block))


def numbers(arms: Sequence[Arm]) -> tuple[Table, ...]:
    """Return what the charts show as tables, of many steps a few."""
    steps = sorted({step.step for arm in arms for step in arm.steps})
    if not steps:
        return ()
    last = len(steps) - 1
    chosen = sorted({steps[round(place * last / (_ROWS - 1))] for place in range(_ROWS)})
    some = f"{len(chosen)} of {len(steps)} steps" if len(chosen) < len(steps) else "every step"
    figures: Iterable[tuple[str, _Figure]] = (
        ("commit_loss as reported", lambda step: step.commit_loss),
        ("Shadow loss", lambda step: step.shadow_commit_loss),
        ("Drift of the codes", lambda step: step.drift),
    )
    head = (Column("Step", Kind.NUMBER), *(Column(arm.strategy, Kind.NUMBER) for arm in arms))
    tables = []
    for title, figure in figures:
        columns = [{step.step: figure(step) for step in arm.steps} for arm in arms]
        if any(math.isfinite(value) for column in columns for value in column.values()):
            rows: list[Sequence[Inline]] = [
                (str(at), *(number(column[at]) if at in column else "" for column in columns)) for at in chosen
            ]
            tables.append(Table(f"{title}, {some}.", head, rows))
    return tuple(tables)


def _control(arm: Arm) -> tuple[Word, ...]:
    return (tag("control"),) if arm.is_control else ()


def _points(arm: Arm, figure: _Figure) -> list[tuple[float, float]]:
    return [(step.step, figure(step)) for step in arm.steps]


def _drawn(points: Sequence[tuple[float, float]]) -> bool:
    return any(drawable(value) for _, value in points)


def reported(arm: Arm) -> str:
    """Return the range of the reported commit_loss, and whether it was off."""
    if all(step.commit_loss_state == NOT_REPORTED for step in arm.steps):
        return "-"
    return f"{number(arm.commit_loss.high)} (off)" if _is_off(arm) else _range(arm.commit_loss)


def _is_off(arm: Arm) -> bool:
    return bool(arm.steps) and all(step.commit_loss_state == OFF for step in arm.steps)


def shadow(arm: Arm) -> str:
    """Return the range of the shadow loss, or a dash where it is not known."""
    known = arm.uses_codebook is None or math.isfinite(arm.shadow_commit_loss.high)
    return _range(arm.shadow_commit_loss) if known else "-"


def _range(extent: LossRange) -> str:
    low, high = number(extent.low), number(extent.high)
    return low if low == high else f"{low}..{high}"
