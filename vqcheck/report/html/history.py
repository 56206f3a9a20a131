"""`vqcheck history` as a page: the verdict, the drift over the checkpoints, and every checkpoint."""

import math
from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import Final

from vqcheck.codebook.comparison import CHANGED, TOKENS, UNDECIDED
from vqcheck.experiment.history import History, Row
from vqcheck.report.html.axis import counted, from_zero
from vqcheck.report.html.charts import Event, Line, line_chart, thinned
from vqcheck.report.html.markup import Element, Node, element
from vqcheck.report.html.page import page
from vqcheck.report.html.parts import bullets, code, facts, paragraph, path, pill, section, short, table
from vqcheck.report.words import history as words

_POINTS: Final = 300


def document(history: History) -> str:
    """Return the history of a folder as one page."""
    first = history.first_moved
    return page(
        "history",
        history.exit_code,
        history.verdict,
        words.headline(history),
        _what(history),
        _drift(history.rows, first) if history.rows else None,
        _checkpoints(history.rows) if history.rows else None,
        _others("Could not be read", history.unreadable),
        _others("Passed over", history.skipped),
        lead=_warnings(history),
    )


def _warnings(history: History) -> Node:
    lines = [element("b", f"WARNING: the codebook of {name} was never trained") for name in history.never_trained]
    return bullets(lines, "more were never trained") if lines else None


def _what(history: History) -> Element:
    first = history.first_moved
    scope = "bookkeeping is not judged" if history.scope == TOKENS else None
    return section(
        "What was compared",
        facts(
            ("Folder", path(history.folder)),
            ("Checkpoints", f"{len(history.rows)} with a codebook, in the order of training"),
            ("First that moved", path(first.name) if first else "none"),
            ("Scope", scope),
        ),
    )


def _drift(rows: Sequence[Row], first: Row | None) -> Node:
    places, title = _places(rows)
    points = [(place, _moved(row)) for place, row in zip(places, rows, strict=True)]
    known = [value for _, value in points if math.isfinite(value)]
    if len(known) < 2:
        return None
    drawn = thinned(points, _POINTS)
    event = None
    if first:
        at = next(place for place, row in zip(places, rows, strict=True) if row is first)
        event = Event(at, f"first moved: {short(first.name, 36)}")
    unit = "half distances to the nearest code"
    chart = line_chart(
        "drift",
        "Drift of the VQ encoder over the checkpoints",
        _description(rows, first, known),
        [Line("first", drawn)],
        counted(title, places),
        from_zero(unit, known),
        event,
        size=(480, 220),
    )
    notes = []
    if len(drawn) < len(points):
        notes.append(
            f"Of {len(points)} checkpoints, those with the smallest and greatest drift of each stretch are drawn."
        )
    if len(known) < len(points):
        notes.append("A gap is a checkpoint whose drift cannot be measured.")
    return section(
        "Drift since the first checkpoint",
        paragraph(
            "How far a code has moved (the median over all codes), in half the distance to its nearest neighbour. At 1 "
            "a code may be as near to its neighbour's place as to its own."
        ),
        element("div", element("figure", chart), class_="wide"),
        element("p", " ".join(notes), class_="more") if notes else None,
    )


def _description(rows: Sequence[Row], first: Row | None, known: Sequence[float]) -> str:
    if first is None:
        return f"All {len(rows)} checkpoints stay at 0."
    return f"0 until {first.name}, where it begins to move; at most {max(known):.3g}."


def _places(rows: Sequence[Row]) -> tuple[list[float], str]:
    """Return the checkpoints' places on the x axis: their steps where all tell them in order, else their numbers."""
    steps = [row.training.steps for row in rows]
    told = [step for step in steps if step is not None]
    if len(told) == len(rows) and all(a < b for a, b in pairwise(told)):
        return [float(step) for step in told], "training step"
    return [float(number) for number in range(1, len(rows) + 1)], "number of the checkpoint"


def _moved(row: Row) -> float:
    drift = row.from_first
    if drift is None or drift.verdict != CHANGED:
        return 0.0
    return math.nan if drift.displacement is None else drift.displacement


def _checkpoints(rows: Sequence[Row]) -> Element:
    """Return the checkpoints, those in a row with one VQ encoder as one line."""
    lines = [_line(list(same)) for _, same in groupby(rows, key=lambda row: (row.digest, row.is_undecided))]
    caption = (
        "In training order; checkpoints in a row that hold the same VQ encoder share a line. Moved: the median over "
        "the codes since the first checkpoint, in half the distance to the nearest neighbour. EMA updates: since the "
        "line above."
    )
    head = ("Checkpoint", "Against the first", "Epoch", "Step", "VQ encoder", "Rows changed", "Moved", "EMA updates")
    looks = ("w", "k", "n", "n", "k", "n", "n", "n")
    return section("Checkpoints", table("checkpoints", caption, head, lines, looks, left_out="lines are", most=40_000))


def _line(rows: list[Row]) -> tuple[Node, ...]:
    first, last = rows[0], rows[-1]
    name = path(first.name)
    if len(rows) > 1:
        name = element("span", path(first.name), " to ", path(last.name), f" ({len(rows)})")
    drift = first.from_first
    verdict = (
        pill("first", "quiet")
        if drift is None
        else pill(drift.verdict, "bad" if drift.verdict in (CHANGED, UNDECIDED) else "good")
    )
    return (
        name,
        verdict,
        _span(first.training.epoch, last.training.epoch),
        _span(first.training.steps, last.training.steps),
        code(first.digest.short),
        "" if drift is None else f"{drift.rows_changed} of {drift.rows}" if drift.rows else "0",
        "" if drift is None else words.moved(drift),
        "" if first.from_previous is None else words.updates(first.from_previous),
    )


def _span(first: int | None, last: int | None) -> str:
    told = [str(each) for each in dict.fromkeys((first, last)) if each is not None]
    return " to ".join(told) or "-"


def _others(title: str, files: Sequence[tuple[str, str]]) -> Node:
    if not files:
        return None
    return section(title, bullets((element("span", path(name), f": {why}") for name, why in files), "more files"))
