"""The losses and the drift of a replay over its steps: of all arms in one block, on one scale, and as numbers."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from vqcheck.language import tr
from vqcheck.replay.trace import Arm, CommitLossState, LossRange, StepTrace
from vqcheck.report import blocks as doc
from vqcheck.report.blocks import Kind, Shown
from vqcheck.report.scales import drawable
from vqcheck.report.views.words import number

_ROWS: Final = 10
"""Steps in a table of numbers."""
_Figure = Callable[[StepTrace], float]


def charts(arms: Sequence[Arm]) -> tuple[doc.Section, ...]:
    """Return a section for commit_loss and one for the drift of the codes; without what no arm measured."""
    arms = [arm for arm in arms if arm.steps]
    return (_commit_loss(arms), _drift(arms)) if arms else ()


def _commit_loss(arms: Sequence[Arm]) -> doc.Section:
    about = tr(
        "The mean squared distance between frames and their codes. A reported 0 is no evidence: eval mode does not "
        "compute it."
    )
    off = tr("0, because it is not computed in eval mode")
    reports = [_line(arm, lambda step: step.commit_loss, off if _is_off(arm) else reported(arm)) for arm in arms]
    shadows = [_line(arm, lambda step: step.shadow_commit_loss, shadow(arm)) for arm in arms]
    blocks = (
        *_chart(tr("commit_loss as the training code reports it"), "commit_loss", reports, Shown.ALWAYS),
        *_chart(tr("Shadow loss, computed in every mode"), tr("shadow loss"), shadows),
    )
    return doc.Section("commit_loss", (doc.Paragraph(about, Shown.PAGE), *blocks) if blocks else ())


def _chart(title: str, y_title: str, lines: Sequence[doc.Line], shown: Shown = Shown.PAGE) -> Iterable[doc.Block]:
    """Yield a title and a chart, if any arm has a value to draw."""
    if any(drawable(value) for line in lines for _, value in line.points):
        yield doc.Paragraph((doc.strong(title),), Shown.PAGE)
        yield doc.LineChart(title, tr("training step"), y_title, lines, shown)


def _drift(arms: Sequence[Arm]) -> doc.Section:
    lines = []
    for arm in arms:
        points = [(step.step, step.drift) for step in arm.steps]
        moved = any(value for _, value in points)
        said = (
            tr("{distance} from the start", distance=number(points[-1][1]))
            if moved
            else tr("0: no bit of the codes changed")
        )
        event = None
        if arm.first_writes:
            first = arm.first_writes[0].first_changed_step
            event = doc.Event(min(max(first, points[0][0]), points[-1][0]), tr("first write: step {step}", step=first))
        lines.append(_line(arm, lambda step: step.drift, said, event))
    about = tr(
        "The Euclidean distance of all codes from the start, in their own unit. A frozen codebook stays at exactly 0."
    )
    chart = doc.LineChart(
        tr("Drift of the codes"), tr("training step"), tr("distance from the start"), lines, Shown.ALWAYS
    )
    return doc.Section(tr("Drift of the codes"), (doc.Paragraph(about, Shown.PAGE), chart))


def _line(arm: Arm, figure: _Figure, said: str, event: doc.Event | None = None) -> doc.Line:
    notes = (doc.tag(tr("control")),) if arm.is_control else ()
    return doc.Line(arm.strategy, said, [(step.step, figure(step)) for step in arm.steps], event, notes)


def numbers(arms: Sequence[Arm]) -> tuple[doc.Table, ...]:
    """Return what the charts show as tables, of many steps a few."""
    steps = sorted({step.step for arm in arms for step in arm.steps})
    if not steps:
        return ()
    last = len(steps) - 1
    chosen = sorted({steps[round(place * last / (_ROWS - 1))] for place in range(_ROWS)})
    some = (
        tr("{chosen} of {steps} steps", chosen=len(chosen), steps=len(steps))
        if len(chosen) < len(steps)
        else tr("every step")
    )
    figures: Iterable[tuple[str, _Figure]] = (
        (tr("commit_loss as reported"), lambda step: step.commit_loss),
        (tr("Shadow loss"), lambda step: step.shadow_commit_loss),
        (tr("Drift of the codes"), lambda step: step.drift),
    )
    head = (doc.Column(tr("Step"), Kind.NUMBER), *(doc.Column(arm.strategy, Kind.NUMBER) for arm in arms))
    tables = []
    for title, figure in figures:
        columns = [{step.step: figure(step) for step in arm.steps} for arm in arms]
        if any(math.isfinite(value) for column in columns for value in column.values()):
            rows: list[Sequence[doc.Inline]] = [
                (str(at), *(number(column[at]) if at in column else "" for column in columns)) for at in chosen
            ]
            tables.append(doc.Table(tr("{figure}, {steps}.", figure=title, steps=some), head, rows))
    return tuple(tables)


def reported(arm: Arm) -> str:
    """Return the range of the reported commit_loss, and whether it was off."""
    if all(step.commit_loss_state == CommitLossState.NOT_REPORTED for step in arm.steps):
        return "-"
    return tr("{loss} (off)", loss=number(arm.commit_loss.high)) if _is_off(arm) else _range(arm.commit_loss)


def _is_off(arm: Arm) -> bool:
    return bool(arm.steps) and all(step.commit_loss_state == CommitLossState.OFF for step in arm.steps)


def shadow(arm: Arm) -> str:
    """Return the range of the shadow loss, or a dash where it is not known."""
    known = arm.uses_codebook is None or math.isfinite(arm.shadow_commit_loss.high)
    return _range(arm.shadow_commit_loss) if known else "-"


def _range(extent: LossRange) -> str:
    low, high = number(extent.low), number(extent.high)
    return low if low == high else tr("{low}..{high}", low=low, high=high)
