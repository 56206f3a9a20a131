"""`vqcheck history` for people: one row for each run of equal checkpoints, and the first that moved."""

from itertools import groupby

from vqcheck.codebook.comparison import CHANGED
from vqcheck.experiment.history import History, Row
from vqcheck.report.text.page import Page, Style, verdict
from vqcheck.report.words import history as words


def table(history: History, style: Style) -> str:
    """Return the history of a folder."""
    page = Page(style)
    for name in history.never_trained:
        page.line((f"WARNING: the codebook of {name} was never trained", "bold yellow"), indent=9)
    page.line(verdict(history.verdict), f"  {words.headline(history)}", indent=2)
    if history.rows:
        page.blank()
        groups = [list(rows) for _, rows in groupby(history.rows, key=lambda row: row.digest)]
        names = [_names(rows) for rows in groups]
        width = min(max(len(name) for name in names), 30)
        page.line(("  " + "checkpoint".ljust(width) + "  epoch    step  VQ encoder    moved*  EMA updates", "bold"))
        for rows, name in zip(groups, names, strict=True):
            _group(page, rows, name, width)
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


def _names(rows: list[Row]) -> str:
    return rows[0].name if len(rows) == 1 else f"{rows[0].name} .. {rows[-1].name} ({len(rows)})"


def _group(page: Page, rows: list[Row], name: str, width: int) -> None:
    first = rows[0]
    epoch = "-" if first.training.epoch is None else str(first.training.epoch)
    step = "-" if first.training.steps is None else str(first.training.steps)
    moved = "" if first.from_first is None else words.moved(first.from_first)
    updates = "" if first.from_previous is None else words.updates(first.from_previous)
    look = "bold red" if first.from_first and first.from_first.verdict == CHANGED else ""
    if len(name) > width:
        page.line(f"  {name}")
        name = ""
    page.line(
        f"  {name:<{width}}  {epoch:>5}  {step:>6}  {first.digest.short}  ", (f"{moved:>6}", look), f"  {updates}"
    )
