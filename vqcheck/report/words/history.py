"""The history of a folder, in words."""

import os
from collections.abc import Sequence
from itertools import groupby

from vqcheck.audit.history_result import (
    BaseSource,
    ComparedWith,
    Drift,
    History,
    HistoryRow,
    HistoryVerdict,
    TrainingRun,
)
from vqcheck.codebook.comparison import CHANGED, IDENTICAL, ROUNDED, UNDECIDED, WITHIN_ULPS
from vqcheck.codebook.health import EXPLAINED

_TOLD_BY = {
    BaseSource.OPTION: "--base",
    BaseSource.CONFIGURATION: "the run's configuration",
    BaseSource.FOLDER: "of this folder, with no word of training",
}


def headline(history: History) -> str:
    """Return what a folder's checkpoints come to, in one sentence without its full stop."""
    if len(history.runs) == 1:
        return run_headline(history.runs[0], history.folder)
    of = f"of {len(history.runs)} runs in {history.folder}"
    told = [
        f"{len(names)} {of} {what} ({', '.join(names)})"
        for verdict, what in ((HistoryVerdict.COULD_NOT_CHECK, "could not be checked"), (CHANGED, "moved"))
        if (names := [title(run) for run in history.runs if run.verdict == verdict])
    ]
    return "; ".join(told) or f"none {of} moved"


def title(run: TrainingRun) -> str:
    """Return what a run is called where there are several."""
    return run.name or "other files"


def run_headline(run: TrainingRun, folder: str) -> str:
    """Return what the checkpoints of one run come to, in one sentence without its full stop."""
    moved, rows = run.first_moved, run.rows
    also = f"; the VQ encoder moved at {moved.name}" if moved else ""
    if run.unreadable:
        return f"{len(run.unreadable)} of the files in {folder} cannot be read{also}"
    if run.verdict == HistoryVerdict.COULD_NOT_CHECK:
        undecided = [row.name for row in rows if row.is_undecided]
        if undecided:
            more = f" and {len(undecided) - 3} more" if len(undecided) > 3 else ""
            return f"copies in {', '.join(undecided[:3])}{more} contradict what was judged; --copy NAME chooses{also}"
        if not rows:
            return f"{folder} holds no checkpoint with a codebook"
        return (
            f"{rows[0].name} is the only checkpoint with a codebook: there is nothing to compare it with (--base CKPT)"
        )
    if moved is not None:
        return _moved_at(moved, run)
    return f"{_agree(run)}{_partly(run)}"


def _moved_at(moved: HistoryRow, run: TrainingRun) -> str:
    number = run.rows.index(moved)
    if number == 0:
        return f"the VQ encoder of {moved.name} is not that of its base {base_name(run)}"
    before = run.rows[number - 1].name
    since_base = moved.from_base is not None and moved.from_base.verdict == CHANGED
    since_before = moved.from_previous is not None and moved.from_previous.verdict == CHANGED
    if since_base and not since_before and before != base_name(run):
        # The file before it stores less, or with less precision, and so does not show whether it had moved by then.
        return f"the VQ encoder of {moved.name} is not that of its base {base_name(run)}"
    return f"the VQ encoder moved between {before} and {moved.name}"


def _agree(run: TrainingRun) -> str:
    held = {
        ROUNDED: "one VQ encoder, rounded in some",
        WITHIN_ULPS: "VQ encoders that are equal but for the last places",
    }.get(run.verdict, "the same VQ encoder")
    if run.compared_with == ComparedWith.EACH_OTHER:
        alone = "they agree with each other, and were compared with nothing else"
        return f"all {len(run.rows)} checkpoints hold {held}: {alone}"
    own = [row for row in run.rows if row.from_base]
    if len(own) < len(run.rows):
        return f"all {len(run.rows)} checkpoints hold {held}"
    which = "the one checkpoint and its" if len(own) == 1 else f"all {len(own)} checkpoints and their"
    return f"{which} base {base_name(run)} hold {held}"


def _partly(run: TrainingRun) -> str:
    """Return what no file, or not every file, stores."""
    alone = [row for row in run.rows if row.digest_of != "vq_encoder"]
    if not alone:
        return ""
    names = ", ".join(row.name for row in alone[:3]) + (f" and {len(alone) - 3} more" if len(alone) > 3 else "")
    return f"; of {names} the {alone[0].digest_of} alone, which is all they store"


def warnings(history: History) -> list[str]:
    """Return what must be said first: files that agree may all be unfit for use."""
    lines = [f"WARNING: the codebook of {name} was never trained" for name in history.never_trained]
    return lines + [f"WARNING: the VQ encoder of {name} is {ail}: {EXPLAINED[ail]}" for name, ail in history.ailing]


def base_name(run: TrainingRun) -> str:
    """Return the base's file name; empty where none is known."""
    return os.path.basename(run.base.path) if run.base else ""


def compared(run: TrainingRun) -> str:
    """Return what the checkpoints were compared with, in words."""
    if run.base is not None and run.compared_with == ComparedWith.BASE:
        return f"{run.base.path} ({_TOLD_BY[run.base.told_by]}) and those before them"
    why = run.base_note or "no base is known"
    with_what = "each other alone" if run.compared_with == ComparedWith.EACH_OTHER else "nothing"
    return f"{with_what}: {why} (--base CKPT)"


def series(rows: Sequence[HistoryRow]) -> list[list[HistoryRow]]:
    """Return the checkpoints in series that hold one VQ encoder, of which none but the first moved."""
    # What moved may be another codec of the file than the one that the digest is of.
    return [
        list(same)
        for _, same in groupby(rows, key=lambda row: (row.digest, row.digest_of, row.moved, row.is_undecided))
    ]


def digest(row: HistoryRow) -> str:
    """Return the digest's first digits, and what it covers where that is not the whole VQ encoder."""
    return row.digest.short if row.digest_of == "vq_encoder" else f"{row.digest_of} {row.digest.short}"


def moved(row: HistoryRow) -> str:
    """Return the median move of a code since the base or the first checkpoint, or that it cannot be measured."""
    drift = row.since_start
    if drift is None:
        return ""
    if drift.verdict == UNDECIDED:
        return "?"
    if drift.verdict != CHANGED:
        # What the start stores with less precision does not show all that moved since.
        return "yes" if row.moved and drift.verdict != IDENTICAL else "0"
    if drift.displacement is None:
        return "yes"
    return f"{drift.displacement:.3f}" if drift.displacement >= 0.0005 or not drift.displacement else "<0.001"


def updates(drift: Drift) -> str:
    """Return how many EMA updates ran, or a dash where they left no trace to count by."""
    if drift.verdict == UNDECIDED:
        return "?"
    if drift.verdict != CHANGED:
        return "0"
    if drift.ema_steps is None:
        return "-"
    return f"{drift.ema_steps}" if drift.precision == "exact" else f"{drift.precision} {drift.ema_steps}"
