"""`vqcheck history` for people: one row for each run of equal checkpoints, and the first that moved."""

from itertools import groupby

from vqcheck.codebook.comparison import CHANGED
from vqcheck.experiment.history import Drift, History, Row
from vqcheck.report.text.page import Page, Style, verdict


def table(history: History, style: Style) -> str:
    """Return the history of a folder."""
    page = Page(style)
    for name in history.never_trained:
        page.line((f"WARNING: the codebook of {name} was never trained", "bold yellow"), indent=9)
    page.line(verdict(history.verdict), f"  {_headline(history)}", indent=2)
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


def _headline(history: History) -> str:
    count = len(history.rows)
    if history.unreadable:
        also = f"; the VQ encoder moved at {history.first_moved.name}" if history.first_moved else ""
        return f"{len(history.unreadable)} of the files in {history.folder} cannot be read{also}"
    if count < 2:
        return f"{history.folder} holds {count} checkpoint(s) with a codebook, two are needed"
    moved = history.first_moved
    if moved is None:
        return f"all {count} checkpoints hold the same VQ encoder"
    before = history.rows[history.rows.index(moved) - 1]
    return f"the VQ encoder moved between {before.name} and {moved.name}"


def _names(rows: list[Row]) -> str:
    return rows[0].name if len(rows) == 1 else f"{rows[0].name} .. {rows[-1].name} ({len(rows)})"


def _group(page: Page, rows: list[Row], name: str, width: int) -> None:
    first = rows[0]
    epoch = "-" if first.training.epoch is None else str(first.training.epoch)
    step = "-" if first.training.steps is None else str(first.training.steps)
    moved = "" if first.from_first is None else _moved(first.from_first)
    updates = "" if first.from_previous is None else _updates(first.from_previous)
    look = "bold red" if first.from_first and first.from_first.verdict == CHANGED else ""
    if len(name) > width:
        page.line(f"  {name}")
        name = ""
    page.line(
        f"  {name:<{width}}  {epoch:>5}  {step:>6}  {first.digest.short}  ", (f"{moved:>6}", look), f"  {updates}"
    )


def _moved(drift: Drift) -> str:
    if drift.verdict != CHANGED:
        return "0"
    return "yes" if drift.displacement is None else f"{drift.displacement:.3f}"


def _updates(drift: Drift) -> str:
    if drift.verdict != CHANGED:
        return "0"
    if drift.ema_steps is None:
        return "-"
    return f"{drift.ema_steps}" if drift.precision == "exact" else f"{drift.precision} {drift.ema_steps}"
