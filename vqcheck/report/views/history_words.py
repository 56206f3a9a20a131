"""The history of a folder in sentences, which its page and its checks both say."""

import os
from typing import Final

from vqcheck.audit.history_result import (
    ComparedWith,
    History,
    HistoryRow,
    HistoryVerdict,
    SkippedFile,
    TrainingRun,
)
from vqcheck.codebook.comparison import Verdict
from vqcheck.codebook.vq_encoder import InFront
from vqcheck.experiment.run_base import BaseProblem, UnusedBase
from vqcheck.language import tr
from vqcheck.report.views.words import clauses, listed

_SHOWN: Final = 3
"""Files and runs that a sentence names."""


def headline(history: History) -> str:
    """Return what a folder's checkpoints come to, in one sentence without its full stop."""
    if len(history.runs) == 1:
        return run_headline(history.runs[0], history.folder)
    runs = tr("{number} runs in {folder}", number=len(history.runs), folder=history.folder)
    unchecked = [title(run) for run in history.runs if run.verdict == HistoryVerdict.COULD_NOT_CHECK]
    moved = [title(run) for run in history.runs if run.verdict == HistoryVerdict.CHANGED]
    if not unchecked and not moved:
        return tr("none of {runs} moved", runs=runs)
    return clauses(
        tr(
            "{number} of {runs} could not be checked ({names})",
            number=len(unchecked),
            runs=runs,
            names=listed(unchecked, _SHOWN),
        )
        if unchecked
        else "",
        tr("{number} of {runs} moved ({names})", number=len(moved), runs=runs, names=listed(moved, _SHOWN))
        if moved
        else "",
    )


def title(run: TrainingRun) -> str:
    """Return what a run is called where there are several."""
    return run.name or tr("other files")


def run_headline(run: TrainingRun, folder: str) -> str:
    """Return what the checkpoints of one run come to, in one sentence without its full stop."""
    moved, rows = run.first_moved, run.rows
    also = tr("the VQ encoder moved at {name}", name=moved.name) if moved else ""
    if run.unreadable:
        return clauses(
            tr("{number} of the files in {folder} cannot be read", number=len(run.unreadable), folder=folder),
            also,
        )
    if run.verdict is HistoryVerdict.COULD_NOT_CHECK:
        undecided = [row.name for row in rows if row.is_undecided]
        if undecided:
            said = tr("another copy in {files} contradicts the copy that was judged", files=listed(undecided, _SHOWN))
            return clauses(said, also)
        if not rows:
            return tr("the folder {folder} holds no checkpoint with a codebook", folder=folder)
        return tr(
            "the only checkpoint with a codebook is {name}, so there is nothing to compare it with", name=rows[0].name
        )
    return _moved_at(moved, run) if moved else clauses(_agree(run), _partly(run))


def _moved_at(moved: HistoryRow, run: TrainingRun) -> str:
    before = last_before(moved, run)
    if before is None:
        return tr("the VQ encoder of {name} is not that of its base {base}", name=moved.name, base=base_name(run))
    return tr("the VQ encoder moved between {before} and {name}", before=before, name=moved.name)


def last_before(moved: HistoryRow, run: TrainingRun) -> str | None:
    """Return the last checkpoint before the move; None where nothing shows that any had not moved."""
    number = run.rows.index(moved)
    if number == 0:
        return None
    before = run.rows[number - 1].name
    since_base = moved.from_base is not None and moved.from_base.verdict == Verdict.CHANGED
    since_before = moved.from_previous is not None and moved.from_previous.verdict == Verdict.CHANGED
    # A file that stores less, or with less precision, does not show whether it had moved by then.
    return None if since_base and not since_before and before != base_name(run) else before


def _agree(run: TrainingRun) -> str:
    if _is_unknown(run):
        held = {
            HistoryVerdict.ROUNDED: tr("the same codebook, rounded in some files"),
            HistoryVerdict.WITHIN_ULPS: tr("codebooks that differ only in the last places"),
        }.get(run.verdict, tr("the same codebook"))
    else:
        held = {
            HistoryVerdict.ROUNDED: tr("the same VQ encoder, rounded in some files"),
            HistoryVerdict.WITHIN_ULPS: tr("VQ encoders that differ only in the last places"),
        }.get(run.verdict, tr("the same VQ encoder"))
    own = [row for row in run.rows if row.from_base]
    if run.compared_with is ComparedWith.EACH_OTHER:
        return tr(
            "all {number} checkpoints hold {held}, but they were compared only with each other",
            number=len(run.rows),
            held=held,
        )
    if len(own) < len(run.rows):
        return tr("all {number} checkpoints hold {held}", number=len(run.rows), held=held)
    if len(own) == 1:
        return tr("the one checkpoint and its base {base} hold {held}", base=base_name(run), held=held)
    return tr(
        "all {number} checkpoints and their base {base} hold {held}",
        number=len(own),
        base=base_name(run),
        held=held,
    )


def _partly(run: TrainingRun) -> str:
    """Return which files do not store everything, or that nobody knows what everything is."""
    if _is_unknown(run):
        return tr("what is in front of it is not known")
    alone = [row for row in run.rows if row.digest_of != "vq_encoder"]
    if not alone:
        return ""
    if len(alone) == 1:
        return tr("{name} stores the {part} alone", name=alone[0].name, part=_part(alone[0]))
    return tr(
        "{names} store the {part} alone",
        names=listed([row.name for row in alone], _SHOWN),
        part=_part(alone[0]),
    )


def _part(row: HistoryRow) -> str:
    """Return what a file stores, where that is not the whole VQ encoder."""
    return {"codebook": tr("codebook"), "projection": tr("projection")}[row.digest_of]


def _is_unknown(run: TrainingRun) -> bool:
    return any(row.in_front is InFront.UNKNOWN for row in run.rows)


def base_name(run: TrainingRun) -> str:
    """Return the base's file name; empty where none is known."""
    return os.path.basename(run.base.path) if run.base else ""


def why_no_base(unused: UnusedBase | None) -> str:
    """Return why the base that a configuration names is not used; empty where none is named."""
    if unused is None:
        return ""
    files = listed(unused.files)
    return {
        BaseProblem.SEVERAL: tr("the configurations name several files: {files}", files=files),
        BaseProblem.ABSENT: tr("the configuration names {files}, which is not there", files=files),
        BaseProblem.HOLDS_LESS: tr(
            "the configuration names {files}, which stores less than {checkpoint}",
            files=files,
            checkpoint=unused.checkpoint,
        ),
    }[unused.problem]


def start_of(run: TrainingRun) -> str:
    return tr("base") if run.base else tr("first checkpoint")


def held_digest(row: HistoryRow) -> str:
    """Return the digest's first digits, and what it covers where that is not the whole VQ encoder."""
    if row.digest_of == "vq_encoder":
        return row.digest.short
    return tr("{part} {digest}", part=_part(row), digest=row.digest.short)


def why_skipped(file: SkippedFile) -> str:
    return tr("is of another codec ({family})", family=file.family) if file.family else file.reason
