"""`vqcheck replay` for people: the arms side by side, then what happened in each."""

from typing import Final

from vqcheck.replay.trace import (
    AS_EXPECTED,
    DRIFTED,
    NOT_MEASURED,
    OFF,
    Arm,
    FirstWrite,
    Replay,
)
from vqcheck.report.render.sparkline import bars_for, sparkline
from vqcheck.report.text.columns import Column, blocks
from vqcheck.report.text.page import Page, Span, Style
from vqcheck.report.words import replay as words

_STYLES = {"drifted": "bold red", "frozen": "green", AS_EXPECTED: "bold green", NOT_MEASURED: "yellow"}
_LABEL = 13
_COLUMNS: Final = tuple(
    map(Column, ("strategy", "verdict", "commit_loss", "on the side", "codes", "projection", "flipped"))
)


def summary(replay: Replay, style: Style) -> str:
    """Return the report on a replay."""
    page, bars = Page(style), bars_for(style.encoding)
    word = replay.verdict
    page.line((word, _STYLES.get(word, "bold red")), "  ", words.headline(replay), indent=2)
    for line in words.circumstances(replay.setting):
        page.line("  ", (line, "dim"), indent=4)
    page.blank()
    _side_by_side(page, replay)
    for arm in replay.arms:
        page.blank()
        _arm(page, replay, arm, style, bars)
    for note in replay.setting.notes:
        page.blank()
        page.line("note: ", note, indent=6)
    return page.text()


def _side_by_side(page: Page, replay: Replay) -> None:
    rows: list[tuple[Span, ...]] = []
    for arm in replay.arms:
        last = arm.steps[-1] if arm.steps else None
        probe = replay.setting.probe_tokens
        rows.append(
            (
                arm.strategy,
                (arm.verdict, _STYLES.get(arm.verdict, "")),
                words.commit_loss(arm),
                words.shadow(arm),
                words.moved_codes(last),
                words.projection(arm),
                f"{last.flipped_tokens}/{probe}" if last and probe else "-",
            )
        )
    blocks(page, _COLUMNS, rows)
    page.line(
        (
            "  codes: those that moved; on the side: the loss computed whatever the mode; flipped: tokens of a probe",
            "dim",
        ),
        indent=2,
    )


def _arm(page: Page, replay: Replay, arm: Arm, style: Style, bars: str) -> None:
    page.line(
        (arm.strategy, "bold"), "  ", (arm.verdict, _STYLES.get(arm.verdict, "")), f", {words.meets(arm)}", indent=2
    )
    page.line(f"  {arm.stops}", indent=2)
    width = min(40, (style.width or 80) - _LABEL - 26)
    rows: list[tuple[Span, ...]] = []
    if not words.reports_none(arm):
        rows.append(("commit_loss", _commit_loss_in_words(arm, width, bars)))
    if arm.verdict == DRIFTED:
        drift = [step.drift for step in arm.steps]
        line = sparkline(drift, width, low=0.0, bars=bars)
        rows.append(("drift", f"{line}  {words.number(drift[-1])} from the start"))
    rows += [(("first write", "")[bool(i)], *_write(write, arm)) for i, write in enumerate(arm.first_writes)]
    rows.append(("VQ encoder", words.digests(arm)))
    rest = {
        "optimizer": words.optimizer_steps(replay, arm),
        "processes": words.processes(replay, arm),
        "step time": words.step_time(arm),
        "saved as": arm.checkpoint or "",
    }
    rows += [(label, text) for label, text in rest.items() if text]
    for label, *spans in rows:
        page.line((f"  {label!s:<{_LABEL}}", "dim"), *spans, indent=min(2 + _LABEL, (style.width or 80) // 4))


def _commit_loss_in_words(arm: Arm, width: int, bars: str) -> str:
    if arm.steps and all(step.commit_loss_state == OFF for step in arm.steps):
        return f"{words.number(arm.commit_loss.high)}, because it is not computed in eval mode"
    line = sparkline([step.commit_loss for step in arm.steps], width, bars=bars)
    return f"{line}  {words.extent(arm.commit_loss)}"


def _write(write: FirstWrite, arm: Arm) -> tuple[Span, ...]:
    wide = max(len(each.label) for each in arm.first_writes)
    head = f"step {write.first_changed_step}  {write.label:<{wide}}  "
    if write.traced_step is None:
        return (head, ("not attributed", "yellow"))
    operator, where = words.first_write(write)
    return (head, (operator, "cyan"), f"  {where}")
