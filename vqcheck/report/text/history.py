"""`vqcheck history` for people: one row for each run of equal checkpoints, and the first that moved."""

from itertools import groupby
from typing import Final

from vqcheck.codebook.comparison import CHANGED
from vqcheck.experiment.history import History, Row
from vqcheck.report.text.columns import Column, named_rows
from vqcheck.report.text.page import Page, Span, Style, verdict
from vqcheck.report.words import history as words

_WIDEST: Final = 40
"""Columns of a checkpoint's name that stands in its row."""


def table(history: History, style: Style) -> str:
    """Return the history of a folder."""
    page = Page(style)
    for name in history.never_trained:
        page.line((f"WARNING: the codebook of {name} was never trained", "bold yellow"), indent=9)
    page.line(verdict(history.verdict), f"  {words.headline(history)}", indent=2)
    if history.rows:
        page.blank()
        groups = [list(rows) for _, rows in groupby(history.rows, key=lambda row: (row.digest.hex, row.is_undecided))]
        named_rows(page, _columns(history), [_cells(rows) for rows in groups], widest=_WIDEST)
        if history.first_moved:
            page.line(
                "  * median move of a code since the first checkpoint, in half the distance to its nearest neighbour; "
                "EMA updates are counted since the previous row",
                indent=4,
            )
    for name, what in history.skipped:
        page.line((f"  passed over  {name}: {what.split(':')[0]}", "dim"), indent=15)
    for name, why in history.unreadable:
        page.line((f"  UNREADABLE   {name}: {why}", "bold red"), indent=15)
    return page.text()


def _columns(history: History) -> tuple[Column, ...]:
    return (
        Column("checkpoint"),
        Column("epoch", right=True),
        Column("step", right=True),
        Column("VQ encoder"),
        Column("moved*" if history.first_moved else "moved", right=True),
        Column("EMA updates"),
    )


def _names(rows: list[Row]) -> str:
    return rows[0].name if len(rows) == 1 else f"{rows[0].name} .. {rows[-1].name} ({len(rows)})"


def _cells(rows: list[Row]) -> tuple[Span, ...]:
    first = rows[0]
    return (
        _names(rows),
        "-" if first.training.epoch is None else str(first.training.epoch),
        "-" if first.training.steps is None else str(first.training.steps),
        first.digest.short,
        (
            "" if first.from_first is None else words.moved(first.from_first),
            "bold red" if first.from_first and first.from_first.verdict == CHANGED else "",
        ),
        "" if first.from_previous is None else words.updates(first.from_previous),
    )
