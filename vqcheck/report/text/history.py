"""`vqcheck history` for people: one row for each series of equal checkpoints, and the first that moved."""

from typing import Final

from vqcheck.audit.history_result import History, HistoryRow, TrainingRun
from vqcheck.report.text.columns import Column, named_rows
from vqcheck.report.text.page import Page, Span, Style, verdict
from vqcheck.report.words import history as words

_WIDEST: Final = 40
"""Columns of a checkpoint's name that stands in its row."""


def table(history: History, style: Style) -> str:
    """Return the history of a folder."""
    page = Page(style)
    for warning in words.warnings(history):
        page.line((warning, "bold yellow"), indent=9)
    page.line(verdict(history.verdict), f"  {words.headline(history)}", indent=2)
    for run in history.runs:
        if len(history.runs) > 1:
            page.blank()
            told = words.run_headline(run, history.folder)
            page.line((words.title(run), "bold"), "  ", verdict(run.verdict), f"  {told}", indent=2)
        _run(page, run)
    for name, what in history.skipped:
        page.line((f"  passed over  {name}: {what.split(':')[0]}", "dim"), indent=15)
    return page.text()


def _run(page: Page, run: TrainingRun) -> None:
    if run.rows:
        page.line(("  compared with ", "dim"), (words.compared(run), "dim"), indent=4)
        page.blank()
        named_rows(page, _columns(run), [_cells(rows) for rows in words.series(run.rows)], widest=_WIDEST)
        if run.first_moved:
            page.line(
                f"  * median move of a code since {'the base' if run.base else 'the first checkpoint'}, in half the "
                "distance to its nearest neighbour; EMA updates are counted since the previous row",
                indent=4,
            )
    for name, why in run.unreadable:
        page.line((f"  UNREADABLE   {name}: {why}", "bold red"), indent=15)


def _columns(run: TrainingRun) -> tuple[Column, ...]:
    return (
        Column("checkpoint"),
        Column("epoch", right=True),
        Column("step", right=True),
        Column("VQ encoder"),
        Column("moved*" if run.first_moved else "moved", right=True),
        Column("EMA updates"),
    )


def _names(rows: list[HistoryRow]) -> str:
    return rows[0].name if len(rows) == 1 else f"{rows[0].name} .. {rows[-1].name} ({len(rows)})"


def _cells(rows: list[HistoryRow]) -> tuple[Span, ...]:
    first = rows[0]
    return (
        _names(rows),
        "-" if first.record.epoch is None else str(first.record.epoch),
        "-" if first.record.steps is None else str(first.record.steps),
        words.digest(first),
        (words.moved(first), "bold red" if first.moved else ""),
        "" if first.from_previous is None else words.updates(first.from_previous),
    )
