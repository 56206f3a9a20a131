"""What a monitor read of each codebook, and where it goes: TensorBoard, CSV, JSON lines or a callable."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from html import escape
from typing import Any, Final, Union

from vqcheck.errors import UsageError
from vqcheck.language import listed, tr
from vqcheck.notebook import html_table

_WIDTH: Final = 320
_HEIGHT: Final = 60


@dataclass(frozen=True)
class BookUse:
    """How one codebook was used since the last read. None where its quantizer's forward showed no codes."""

    book: str
    """What tells it from others, such as `acoustic.3`; `codebook` where it is the only one."""
    codes: int
    """Codes of all heads."""
    frames: int
    """Lookups since the last read."""
    share_used: float | None
    """Codes that at least one frame came to, over all codes."""
    perplexity: float | None
    """So many codes would do if all were used alike; of several heads the least."""
    dead: int | None
    """Codes that no frame came to in the last ten reads, or since the start."""
    error: float | None
    """Mean squared difference between what enters the quantizer and what leaves it."""
    movement: float
    """Euclidean distance of all codes from where they were at the start; not a number if one has become so."""
    rows_moved: int
    """Codes that are not bit by bit what they were at the start."""
    collapsed: bool | None = None
    """By the rule for files; None until as many frames as codes were seen since it was last judged."""

    @property
    def in_words(self) -> str:
        """The figures in one clause, without the name."""
        facts = []
        if self.share_used is not None:
            facts.append(tr("{share:.0%} of {codes} codes used", share=self.share_used, codes=self.codes))
        if self.perplexity is not None:
            facts.append(tr("perplexity {perplexity:.1f}", perplexity=self.perplexity))
        facts.append(tr("moved by {distance:.3g}", distance=self.movement))
        if self.collapsed:
            facts.append(tr("COLLAPSED"))
        said = facts[-1]
        for each in reversed(facts[:-1]):
            said = tr("{figure}, {next}", figure=each, next=said)
        return said


@dataclass(frozen=True)
class MonitorRecord:
    """One read of a monitor."""

    step: int
    books: tuple[BookUse, ...]
    other_ranks: tuple[int, ...] = ()
    """The processes whose VQ encoder is not that of rank 0."""

    @property
    def collapsed(self) -> tuple[str, ...]:
        """Names of the codebooks that collapsed."""
        return tuple(each.book for each in self.books if each.collapsed)

    def scalars(self) -> dict[str, float]:
        """Return tag -> number, such as `codebook/share_used`, for loggers of scalars."""
        return {
            f"{each.book if each.book == ONLY else f'{ONLY}/{each.book}'}/{name}": float(value)
            for each in self.books
            for name, value in asdict(each).items()
            if name != "book" and value is not None
        }

    def __str__(self) -> str:
        told = [tr("{name}: {text}", name=each.book, text=each.in_words) for each in self.books]
        if self.other_ranks:
            ranks = listed([str(rank) for rank in self.other_ranks], last="")
            told.append(tr("rank {ranks} NOT THE SAME AS RANK 0", ranks=ranks))
        said = told[-1] if told else ""
        for each in reversed(told[:-1]):
            said = tr("{clause}; {next}", clause=each, next=said)
        return tr("step {step}: {text}", step=self.step, text=said)


ONLY: Final = "codebook"
Sink = Union[str, "os.PathLike[str]", Callable[[MonitorRecord], object], Any]


def sender(sink: Sink) -> Callable[[MonitorRecord], object]:
    """Return what takes a record to a sink: a path that ends in .csv or .jsonl, a SummaryWriter, or a callable.

    Files are appended to, so that a resumed run goes on in them.
    """
    if isinstance(sink, (str, os.PathLike)):
        path = os.fspath(sink)
        if path.endswith(".csv"):
            return lambda record: _append_csv(path, record)
        if path.endswith((".jsonl", ".ndjson")):
            return lambda record: _append_json(path, record)
        raise UsageError("a monitor writes .csv and .jsonl files", path)
    if hasattr(sink, "add_scalar"):
        return lambda record: [sink.add_scalar(tag, value, record.step) for tag, value in record.scalars().items()]
    if callable(sink):
        return sink
    raise UsageError(f"sinks: expected a path, a SummaryWriter or a callable, given {sink!r}")


def _append_csv(path: str, record: MonitorRecord) -> None:
    with open(path, "a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        if not file.tell():
            writer.writerow(["step", *(field.name for field in fields(BookUse))])
        for each in record.books:
            writer.writerow([record.step, *asdict(each).values()])


def _append_json(path: str, record: MonitorRecord) -> None:
    with open(path, "a", encoding="utf-8") as file:
        for each in record.books:
            values = {name: None if value != value else value for name, value in asdict(each).items()}  # noqa: PLR0124
            file.write(json.dumps({"step": record.step, **values}, allow_nan=False) + "\n")


@dataclass(frozen=True)
class Figures:
    """The course of each figure of each codebook; a notebook shows it as small curves."""

    records: tuple[MonitorRecord, ...]

    def series(self, figure: str) -> dict[str, list[tuple[int, float]]]:
        """Return book -> (step, value) of a figure such as `share_used`, where it was measured."""
        found: dict[str, list[tuple[int, float]]] = {}
        for record in self.records:
            for each in record.books:
                value = getattr(each, figure)
                if value is not None:
                    found.setdefault(each.book, []).append((record.step, float(value)))
        return found

    def _repr_html_(self) -> str:
        shown = []
        for figure in ("share_used", "perplexity", "dead", "error", "movement"):
            for book, points in self.series(figure).items():
                shown.append(f"<figure><figcaption>{escape(book)}: {figure}</figcaption>{_curve(points)}</figure>")
        return "".join(shown)


def record_table(caption: str, record: MonitorRecord | None) -> str:
    """Return a record as a table for a notebook."""
    names = [field.name for field in fields(BookUse)]
    rows: Sequence[Sequence[object]] = [list(asdict(each).values()) for each in record.books] if record else []
    return html_table(caption, names, rows)


def _curve(points: Sequence[tuple[int, float]]) -> str:
    sound = [(step, value) for step, value in points if abs(value) < float("inf")]
    if not sound:
        return ""
    steps, values = [step for step, _ in sound], [value for _, value in sound]
    wide, high = max(steps) - min(steps) or 1, max(values) - min(values) or 1.0
    line = " ".join(
        f"{(step - min(steps)) / wide * _WIDTH:.1f},{_HEIGHT - (value - min(values)) / high * _HEIGHT:.1f}"
        for step, value in sound
    )
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}"><polyline fill="none" stroke="currentColor" points="{line}"/></svg>'
        f"<small>{min(values):.4g} to {max(values):.4g}, last {values[-1]:.4g}</small>"
    )
