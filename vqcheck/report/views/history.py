"""`vqcheck history`: whether the VQ encoder moved over the checkpoints of a folder, and where it began."""

import math
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise

from vqcheck.audit.history_result import (
    BaseSource,
    ComparedWith,
    Drift,
    History,
    HistoryRow,
    HistoryVerdict,
    TrainingRun,
)
from vqcheck.codebook.comparison import Scope, Verdict
from vqcheck.codebook.health import Condition
from vqcheck.language import sentences, tr, word
from vqcheck.report import blocks as doc
from vqcheck.report.blocks import Kind, Shown, Tone
from vqcheck.report.document import Document, Figure, Status
from vqcheck.report.views import history_words as words
from vqcheck.report.views.history_data import cases, data, remedies
from vqcheck.report.views.words import listed, roughly, warning


def view(history: History) -> Document:
    """Return the document of a folder's history."""
    moved = [run for run in history.runs if run.first_moved]
    return Document(
        command="history",
        status=Status(history.exit_code),
        verdict=history.verdict,
        headline=words.headline(history),
        subject=history.folder,
        cases=cases(history),
        data=data(history),
        warnings=(
            *(tr("WARNING: {why}", why=warning(name, Condition.NEVER_TRAINED)) for name in history.never_trained),
            *(tr("WARNING: {why}", why=warning(name, ailment)) for name, ailment in history.ailing),
        ),
        figures=(
            Figure(tr("checkpoints"), str(sum(len(run.rows) for run in history.runs))),
            Figure(tr("first that moved"), _first_moved(history), Tone.BAD if moved else Tone.GOOD),
        ),
        blocks=(*_compared(history), *(block for run in history.runs for block in _run(run, history)), *_rest(history)),
        remedies=tuple(remedies(history)),
    )


def _first_moved(history: History) -> str:
    names = [run.first_moved.name for run in history.runs if run.first_moved]
    return names[0] if len(names) == 1 else tr("in {number} runs", number=len(names)) if names else tr("none")


def _compared(history: History) -> Iterator[doc.Block]:
    only = history.runs[0] if len(history.runs) == 1 else None
    yield doc.facts(
        tr("What was compared"),
        doc.Fact(tr("Folder"), doc.path(history.folder), Shown.PAGE),
        *(_facts(only) if only else [doc.Fact(tr("Runs"), listed(map(words.title, history.runs)), Shown.PAGE)]),
        doc.Fact(
            tr("Scope"), tr("the running sums and counts are not judged") if history.scope == Scope.TOKENS else None
        ),
    )


def _facts(run: TrainingRun) -> list[doc.Fact]:
    first = run.first_moved
    return [
        doc.Fact(
            tr("Checkpoints"), tr("{number} with a codebook, in training order", number=len(run.rows)), Shown.PAGE
        ),
        doc.Fact(tr("Compared with"), _with_what(run) if run.rows else None),
        doc.Fact(tr("First that moved"), doc.path(first.name) if first else tr("none"), Shown.PAGE),
    ]


def _with_what(run: TrainingRun) -> doc.Inline:
    if run.base is not None and run.compared_with is ComparedWith.BASE:
        origin = {
            BaseSource.OPTION: tr("given with --base"),
            BaseSource.CONFIGURATION: tr("named by the configuration of the run"),
            BaseSource.FOLDER: tr("the file in this folder without a training step"),
        }[run.base.told_by]
        return [doc.path(run.base.path), tr(" ({origin}), and the checkpoints before", origin=origin)]
    why = words.why_no_base(run.unused_base) or tr("no base is known")
    if run.compared_with is ComparedWith.EACH_OTHER:
        return tr("each other only: {why} (--base CKPT)", why=why)
    return tr("nothing: {why} (--base CKPT)", why=why)


def _run(run: TrainingRun, history: History) -> Iterator[doc.Block]:
    parts: tuple[doc.Block, ...] = ()
    if run.rows:
        parts = (_drift(run), _checkpoints(run))
    unreadable = doc.Facts([_file(name, why, tr("Unreadable"), Tone.BAD) for name, why in run.unreadable])
    if len(history.runs) == 1:
        yield from parts
        yield doc.Section(tr("Files that cannot be read"), (unreadable,), heading=Shown.PAGE)
        return
    yield doc.Section(
        words.title(run),
        (doc.Paragraph(words.run_headline(run, history.folder)), doc.Facts(_facts(run)), *parts, unreadable),
        notes=(doc.verdict(word(run.verdict), _tone(run.verdict)),),
        folded=_tone(run.verdict) is Tone.GOOD,
    )


def _drift(run: TrainingRun) -> doc.Section:
    places, x_title = _places(run.rows)
    points = [(place, _distance(row)) for place, row in zip(places, run.rows, strict=True)]
    known = [value for _, value in points if math.isfinite(value)]
    first = run.first_moved
    event = None
    if first:
        at = next(place for place, row in zip(places, run.rows, strict=True) if row is first)
        event = doc.Event(at, tr("first moved: {name}", name=first.name))
    line = doc.Line(words.title(run) if run.name else tr("VQ encoder"), _description(run, known), points, event)
    of = tr("Drift of the VQ encoder over the checkpoints")
    chart = doc.LineChart(of, x_title, tr("half distances to the nearest code"), [line] if len(known) > 1 else [])
    about = sentences(
        tr("This is how far a code has moved: the median over all codes."),
        _unit(),
        tr("At 1 a code may be as near to the old place of that code as to its own."),
        tr("A gap is a checkpoint whose drift cannot be measured.") if len(known) < len(points) else "",
    )
    return doc.Section(
        tr("Drift since the {start}", start=words.start_of(run)),
        (
            doc.Paragraph(about),
            chart,
        )
        if len(known) > 1
        else (),
        Shown.PAGE,
    )


def _unit() -> str:
    return tr("The unit is half the distance to the nearest other code.")


def _description(run: TrainingRun, known: Sequence[float]) -> str:
    first = run.first_moved
    if first is None:
        return tr("All {rows} checkpoints stay at 0.", rows=len(run.rows))
    since = tr("Not 0 from the first checkpoint on") if first is run.rows[0] else tr("0 until {name}", name=first.name)
    return (
        tr("{since}; at most {most:.3g}.", since=since, most=max(known))
        if known
        else tr("{since}; never measured.", since=since)
    )


def _places(rows: Sequence[HistoryRow]) -> tuple[list[float], str]:
    """Return the checkpoints' places on the x axis: their steps where all have one, in order, else their numbers."""
    steps = [row.record.steps for row in rows]
    known = [step for step in steps if step is not None]
    if len(known) == len(rows) and all(a < b for a, b in pairwise(known)):
        return [float(step) for step in known], tr("training step")
    return [float(number) for number in range(1, len(rows) + 1)], tr("number of the checkpoint")


def _distance(row: HistoryRow) -> float:
    drift = row.since_start
    if drift is None or drift.verdict != Verdict.CHANGED:
        return 0.0
    return math.nan if drift.displacement is None else drift.displacement


def _checkpoints(run: TrainingRun) -> doc.Section:
    """Return the checkpoints; those in a row with one VQ encoder share a line."""
    since = words.start_of(run)
    columns = (
        doc.Column(tr("Checkpoint"), Kind.NAME),
        doc.Column(tr("Against the {start}", start=since), shown=Shown.PAGE),
        doc.Column(tr("Against those before"), shown=Shown.PAGE),
        doc.Column(tr("Epoch"), Kind.NUMBER),
        doc.Column(tr("Step"), Kind.NUMBER),
        doc.Column(tr("VQ encoder")),
        doc.Column(tr("Rows changed"), Kind.NUMBER, Shown.PAGE),
        doc.Column(tr("Moved"), Kind.NUMBER),
        doc.Column(tr("EMA updates")),
    )
    rows = [_line(same, since) for same in _series(run.rows)]
    said = sentences(
        tr("Moved says how far a code has moved since the {start}: the median over all codes.", start=since),
        _unit(),
        tr("EMA updates are counted since the row above.") if any(row[-1] for row in rows) else "",
    )
    caption = sentences(
        tr("In training order."), tr("Checkpoints in a row that hold the same VQ encoder share a line."), said
    )
    table = doc.Table(caption, columns, rows)
    note = doc.Paragraph(said, Shown.TEXT) if run.first_moved else doc.Paragraph("")
    return doc.Section(tr("Checkpoints"), (table, note), heading=Shown.PAGE)


def _series(rows: Sequence[HistoryRow]) -> list[list[HistoryRow]]:
    """Return the checkpoints in series that hold one VQ encoder, of which none but the first moved."""
    # What moved may be another codec of the file than the one that the digest is of.
    return [
        list(same)
        for _, same in groupby(rows, key=lambda row: (row.digest, row.digest_of, row.moved, row.is_undecided))
    ]


def _line(rows: list[HistoryRow], start: str) -> tuple[doc.Inline, ...]:
    first, last = rows[0], rows[-1]
    name: doc.Inline = doc.path(first.name)
    if len(rows) > 1:
        name = [doc.path(first.name), " .. ", doc.path(last.name), f" ({len(rows)})"]
    drift = first.since_start
    return (
        name,
        _against(drift, start),
        _against(first.from_previous, "-"),
        _span(first.record.epoch, last.record.epoch),
        _span(first.record.steps, last.record.steps),
        doc.code(words.held_digest(first)),
        ""
        if drift is None
        else tr("{number} of {all}", number=drift.rows_changed, all=drift.rows)
        if drift.rows
        else "0",
        doc.Word(_moved(first), Tone.BAD if first.moved else Tone.NEUTRAL),
        "" if first.from_previous is None else _updates(first.from_previous),
    )


def _against(drift: Drift | None, none: str) -> doc.Word:
    return doc.Word(none, Tone.MUTED) if drift is None else doc.verdict(word(drift.verdict), _tone(drift.verdict))


def _tone(verdict: str) -> Tone:
    tones: dict[str, Tone] = {
        Verdict.CHANGED: Tone.BAD,
        Verdict.UNDECIDED: Tone.WARNING,
        HistoryVerdict.COULD_NOT_CHECK: Tone.WARNING,
    }
    return tones.get(verdict, Tone.GOOD)


def _span(first: int | None, last: int | None) -> str:
    known = [str(each) for each in dict.fromkeys((first, last)) if each is not None]
    return " .. ".join(known) or "-"


def _moved(row: HistoryRow) -> str:
    """Return the median move of a code since the base or the first checkpoint, or that it cannot be measured."""
    drift = row.since_start
    if drift is None:
        return ""
    if drift.verdict == Verdict.UNDECIDED:
        return "?"
    if drift.verdict != Verdict.CHANGED:
        # What the start stores with less precision does not show all that moved since.
        return tr("yes") if row.moved and drift.verdict != Verdict.IDENTICAL else "0"
    if drift.displacement is None:
        return tr("yes")
    return f"{drift.displacement:.3f}" if drift.displacement >= 0.0005 or not drift.displacement else "<0.001"


def _updates(drift: Drift) -> str:
    """Return how many EMA updates ran, or a dash where they left no trace to count by."""
    if drift.verdict == Verdict.UNDECIDED:
        return "?"
    if drift.verdict != Verdict.CHANGED:
        return "0"
    if drift.ema_steps is None:
        return "-"
    return roughly(str(drift.ema_steps), drift.precision)


def _rest(history: History) -> Iterator[doc.Block]:
    """Yield what was not compared: files of one reason together."""
    together: dict[str, list[str]] = {}
    for file in history.skipped:
        together.setdefault(words.why_skipped(file), []).append(file.name)
    facts = [_file(listed(names), why, tr("Skipped")) for why, names in together.items()]
    yield doc.facts(tr("Skipped files"), *facts)


def _file(name: str, why: str, title: str, tone: Tone = Tone.NEUTRAL) -> doc.Fact:
    return doc.Fact(title, [doc.path(name, tone), doc.Word(tr(": {why}", why=why), tone)])
