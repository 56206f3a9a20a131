"""`vqcheck history` for machines: a case for each checkpoint, what to do, and the data of JSON."""

import os
from collections.abc import Iterator
from typing import Any, Final

from vqcheck.audit.history_result import (
    Drift,
    History,
    HistoryRow,
    HistoryVerdict,
    TrainingRun,
)
from vqcheck.codebook.comparison import Verdict
from vqcheck.codebook.health import Condition
from vqcheck.language import sentences, tr
from vqcheck.report.document import Case, CaseOutcome, Remedy, Rule, Weight
from vqcheck.report.views import history_words as words
from vqcheck.report.views.json_objects import digest_object, named
from vqcheck.report.views.words import argument, clauses, listed, trained, unfit_rule, warning

_MOVED: Final = Rule(
    "history/moved",
    "the VQ encoder is the one of the base and of the checkpoints before it",
    "Training wrote the codebook. A token of an earlier checkpoint means something else in this one. Go back to the "
    "last checkpoint before the move. Freeze the quantizer, and train on from there.",
)
_UNREADABLE: Final = Rule(
    "history/unreadable",
    "the file can be read",
    "The drift may have begun in this file. Copy the file again, or move it out of the folder.",
)
_TOO_FEW: Final = Rule(
    "history/too-few",
    "there are two checkpoints to compare",
    "A history needs two files with a codebook, or one file and its base. Name the folder of a run, such as "
    "logs/NAME/logs_s2_v2, and name the base with --base.",
)
_SKIPPED: Final = Rule(
    "history/skipped",
    "the file holds a VQ encoder of this run",
    "A discriminator, an s1 checkpoint or another codec has no part in a history.",
)
_TRAINED: Final = trained("history")
_UNFIT: Final = unfit_rule("history")


def remedies(history: History) -> Iterator[Remedy]:
    for run in history.runs:
        of = words.title(run) if len(history.runs) > 1 else ""
        if run.first_moved:
            yield Remedy(_after_a_move(run.first_moved, run, history.folder), of)
        if run.unreadable:
            yield Remedy(tr("Copy the files that cannot be read again, or move them out of the folder."), of)
        elif run.verdict is HistoryVerdict.COULD_NOT_CHECK and any(row.is_undecided for row in run.rows):
            yield Remedy(tr("Name the copy that will be used: --copy NAME."), of)
        elif run.verdict is HistoryVerdict.COULD_NOT_CHECK:
            yield Remedy(tr("Name the file that training started from: --base CKPT. Or name the folder of a run."), of)


def _after_a_move(moved: HistoryRow, run: TrainingRun, folder: str) -> str:
    before = words.last_before(moved, run)
    one = os.path.join(folder, before) if before else run.base.path if run.base else "BASE"
    command = f"vqcheck diff {argument(one)} {argument(os.path.join(folder, moved.name))}"
    return sentences(
        tr("Go back to {file}.", file=before) if before else tr("Start again from {file}.", file=words.base_name(run)),
        tr("Freeze the quantizer, and train on from there."),
        tr("This shows what changed: {command}", command=command),
    )


def cases(history: History) -> tuple[Case, ...]:
    def at(rule: Rule, name: str, outcome: CaseOutcome, said: str, weight: Weight = Weight.REQUIRED) -> Case:
        return Case(rule, name, outcome, said, os.path.join(history.folder, name), weight=weight)

    found = [at(_MOVED, row.name, *_outcome(row, run)) for run in history.runs for row in run.rows]
    found += [
        at(_UNREADABLE, name, CaseOutcome.COULD_NOT_CHECK, why) for run in history.runs for name, why in run.unreadable
    ]
    for run in history.runs:
        undecided = any(row.is_undecided for row in run.rows)
        if run.verdict is HistoryVerdict.COULD_NOT_CHECK and not run.unreadable and not undecided:
            said = words.run_headline(run, history.folder)
            name = "two checkpoints" if len(history.runs) == 1 else f"two checkpoints of {words.title(run)}"
            found.append(Case(_TOO_FEW, name, CaseOutcome.COULD_NOT_CHECK, said, history.folder))
    found += [at(_SKIPPED, each.name, CaseOutcome.NOT_APPLICABLE, words.why_skipped(each)) for each in history.skipped]
    advice = CaseOutcome.FAILED, Weight.ADVICE
    found += [
        at(_TRAINED, name, advice[0], warning(name, Condition.NEVER_TRAINED), advice[1])
        for name in history.never_trained
    ]
    for name, ailment in history.ailing:
        place = os.path.join(history.folder, name)
        said = warning(name, ailment)
        found.append(Case(_UNFIT, f"{ailment}: {name}", advice[0], said, place, weight=advice[1]))
    return tuple(found)


def _outcome(row: HistoryRow, run: TrainingRun) -> tuple[CaseOutcome, str]:
    """Return the outcome for one checkpoint, and the message."""
    held = f"{row.digest.algorithm} {words.held_digest(row)}"
    since = row.since_start
    if not row.drifts:
        return CaseOutcome.PASSED, f"the {words.start_of(run)}: {held}"
    if row.is_undecided:
        said = f"another copy in it contradicts the copy that was judged; --copy NAME chooses: {held}"
        return CaseOutcome.COULD_NOT_CHECK, said
    if not row.moved:
        return CaseOutcome.PASSED, f"{(since or row.drifts[0]).verdict}: {held}"
    drift = (
        since
        if since and since.verdict == Verdict.CHANGED
        else next(each for each in row.drifts if each.verdict == Verdict.CHANGED)
    )
    far = drift.displacement
    found = (
        f"{drift.rows_changed} of {drift.rows} codes are not those of {listed(drift.against)}"
        if drift.rows_changed
        else f"its VQ encoder is not that of {listed(drift.against)}",
        "the first that moved" if row is run.first_moved else "",
        "" if far is None else f"by {far:.3g} of half the way to the nearest (median)",
    )
    first = f"base {words.base_name(run)}" if row is run.rows[0] else f"{run.rows[0].digest.short} at first"
    return CaseOutcome.FAILED, clauses(listed(found), listed((held, first)))


def data(history: History) -> dict[str, Any]:
    return {
        "folder": history.folder,
        "scope": history.scope,
        "never_trained": list(history.never_trained),
        "ailments": [{"name": name, "ailment": ailment} for name, ailment in history.ailing],
        "runs": [_run_data(run) for run in history.runs],
        "skipped": [{"name": each.name, "reason": words.why_skipped(each)} for each in history.skipped],
    }


def _run_data(run: TrainingRun) -> dict[str, Any]:
    return {
        "name": run.name,
        "verdict": run.verdict,
        "compared_with": run.compared_with,
        "base": None if run.base is None else {"path": run.base.path, "told_by": run.base.told_by},
        "base_note": words.why_no_base(run.unused_base),
        "first_moved": run.first_moved.name if run.first_moved else None,
        "checkpoints": [_row_data(row) for row in run.rows],
        "unreadable": [{"name": name, "reason": why} for name, why in run.unreadable],
    }


def _row_data(row: HistoryRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "kind": row.record.kind.value,
        "epoch": row.record.epoch,
        "steps": row.record.steps,
        "digest": digest_object(row.digest),
        "digest_of": row.digest_of,
        "from_base": _drift_data(row.from_base),
        "from_first": _drift_data(row.from_first),
        "from_previous": _drift_data(row.from_previous),
    }


def _drift_data(drift: Drift | None) -> dict[str, Any] | None:
    return named(drift, "against verdict rows_changed rows displacement ema_steps precision") if drift else None
