"""`vqcheck history` as a page: the verdict, and for each run its drift over the checkpoints, and every checkpoint."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from vqcheck.audit.history_result import Drift, History, HistoryRow, TrainingRun
from vqcheck.codebook.comparison import CHANGED, TOKENS, UNDECIDED
from vqcheck.report.html.axis import counted, from_zero
from vqcheck.report.html.charts import Event, Line, line_chart, thinned
from vqcheck.report.html.markup import Element, Node, element
from vqcheck.report.html.page import page
from vqcheck.report.html.parts import bullets, code, facts, paragraph, path, pill, section, short, table
from vqcheck.report.words import history as words

_POINTS: Final = 300
_NAMED: Final = 20
"""Runs that are named where there are more."""
_LONGEST: Final = 600


def document(history: History) -> str:
    """Return the history of a folder as one page."""
    return page(
        "history",
        history.exit_code,
        history.verdict,
        words.headline(history),
        _what(history),
        *(part for number, run in enumerate(history.runs) for part in _run(run, history, number)),
        _others("Passed over", history.skipped),
        lead=_warnings(history),
    )


def _warnings(history: History) -> Node:
    lines = [element("b", warning) for warning in words.warnings(history)]
    return bullets(lines, "more are not fit for use") if lines else None


def _what(history: History) -> Element:
    only = history.runs[0] if len(history.runs) == 1 else None
    return section(
        "What was compared",
        facts(
            ("Folder", path(history.folder)),
            *(_facts(only) if only else [("Runs", f"{len(history.runs)}: {_titles(history.runs)}")]),
            ("Scope", "bookkeeping is not judged" if history.scope == TOKENS else None),
        ),
    )


def _titles(runs: Sequence[TrainingRun]) -> str:
    more = f" and {len(runs) - _NAMED} more" if len(runs) > _NAMED else ""
    return short(", ".join(words.title(run) for run in runs[:_NAMED]), _LONGEST) + more


def _facts(run: TrainingRun) -> list[tuple[str, Node]]:
    first = run.first_moved
    return [
        ("Checkpoints", f"{len(run.rows)} with a codebook, in the order of training"),
        ("Compared with", short(words.compared(run), _LONGEST)),
        ("First that moved", path(first.name) if first else "none"),
    ]


def _run(run: TrainingRun, history: History, number: int) -> Iterator[Node]:
    several = len(history.runs) > 1
    prefix = f"{short(words.title(run), 60)}: " if several else ""
    if several:
        yield section(
            f"{prefix}{run.verdict}",
            paragraph(short(words.run_headline(run, history.folder), _LONGEST)),
            facts(*_facts(run)),
        )
    if run.rows:
        yield _drift(run, prefix, number)
        yield _checkpoints(run, prefix, number)
    yield _others(f"{prefix}Could not be read" if several else "Could not be read", run.unreadable)


def _drift(run: TrainingRun, prefix: str, number: int) -> Node:
    rows, first = run.rows, run.first_moved
    start = "base" if run.base else "first checkpoint"
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
        f"drift-{number}" if number else "drift",
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
        f"{prefix}Drift since the {start}",
        paragraph(
            "How far a code has moved (the median over all codes), in half the distance to its nearest neighbour. At 1 "
            "a code may be as near to its neighbour's place as to its own."
        ),
        element("div", element("figure", chart), class_="wide"),
        element("p", " ".join(notes), class_="more") if notes else None,
    )


def _description(rows: Sequence[HistoryRow], first: HistoryRow | None, known: Sequence[float]) -> str:
    if first is None:
        return f"All {len(rows)} checkpoints stay at 0."
    if first is rows[0]:
        return f"Not 0 from the first checkpoint on; at most {max(known):.3g}."
    return f"0 until {first.name}, where it begins to move; at most {max(known):.3g}."


def _places(rows: Sequence[HistoryRow]) -> tuple[list[float], str]:
    """Return the checkpoints' places on the x axis: their steps where all tell them in order, else their numbers."""
    steps = [row.record.steps for row in rows]
    told = [step for step in steps if step is not None]
    if len(told) == len(rows) and all(a < b for a, b in pairwise(told)):
        return [float(step) for step in told], "training step"
    return [float(number) for number in range(1, len(rows) + 1)], "number of the checkpoint"


def _moved(row: HistoryRow) -> float:
    drift = row.since_start
    if drift is None or drift.verdict != CHANGED:
        return 0.0
    return math.nan if drift.displacement is None else drift.displacement


def _checkpoints(run: TrainingRun, prefix: str, number: int) -> Element:
    """Return the checkpoints, those in a row with one VQ encoder as one line."""
    start = "base" if run.base else "first"
    lines = [_line(rows, start) for rows in words.series(run.rows)]
    since = "base" if run.base else "first checkpoint"
    caption = (
        "In training order; checkpoints in a row that hold the same VQ encoder share a line. Moved: the median over "
        f"the codes since the {since}, in half the distance to the nearest neighbour. EMA updates: since the line "
        "above."
    )
    head = (
        "Checkpoint",
        f"Against the {start}",
        "Against those before",
        "Epoch",
        "Step",
        "VQ encoder",
        "Rows changed",
        "Moved",
        "EMA updates",
    )
    looks = ("w", "k", "k", "n", "n", "k", "n", "n", "n")
    name = f"checkpoints-{number}" if number else "checkpoints"
    return section(f"{prefix}Checkpoints", table(name, caption, head, lines, looks, left_out="lines are", most=40_000))


def _line(rows: list[HistoryRow], start: str) -> tuple[Node, ...]:
    first, last = rows[0], rows[-1]
    name = path(first.name)
    if len(rows) > 1:
        name = element("span", path(first.name), " to ", path(last.name), f" ({len(rows)})")
    drift = first.since_start
    return (
        name,
        _verdict(drift, start),
        _verdict(first.from_previous, "-"),
        _span(first.record.epoch, last.record.epoch),
        _span(first.record.steps, last.record.steps),
        code(words.digest(first)),
        "" if drift is None else f"{drift.rows_changed} of {drift.rows}" if drift.rows else "0",
        words.moved(first),
        "" if first.from_previous is None else words.updates(first.from_previous),
    )


def _verdict(drift: Drift | None, none: str) -> Node:
    if drift is None:
        return pill(none, "quiet")
    return pill(drift.verdict, "bad" if drift.verdict in (CHANGED, UNDECIDED) else "good")


def _span(first: int | None, last: int | None) -> str:
    told = [str(each) for each in dict.fromkeys((first, last)) if each is not None]
    return " to ".join(told) or "-"


def _others(title: str, files: Sequence[tuple[str, str]]) -> Node:
    if not files:
        return None
    return section(title, bullets((element("span", path(name), f": {why}") for name, why in files), "more files"))
