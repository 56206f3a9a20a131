"""The history of a folder as checks: one a checkpoint."""

import os
from typing import Final

from vqcheck.audit.history_result import History, HistoryRow, HistoryVerdict, TrainingRun
from vqcheck.codebook.comparison import CHANGED
from vqcheck.codebook.health import EXPLAINED
from vqcheck.report.cases.case import COULD_NOT_CHECK, FAILED, NOT_APPLICABLE, PASSED, Case, Rule, Run
from vqcheck.report.cases.trained import trained
from vqcheck.report.words.history import base_name, digest, headline, run_headline, title

_MOVED: Final = Rule(
    "history/moved",
    "the VQ encoder is the one of the base and of the checkpoints before it",
    "Training wrote the codebook: tokens of the earlier checkpoint mean something else in this one. Go back to the "
    "last checkpoint before it, freeze the quantizer, and train on from there.",
)
_UNREADABLE: Final = Rule(
    "history/unreadable",
    "the file can be read",
    "The drift may have begun in it. Copy the file again, or move it out of the folder.",
)
_TOO_FEW: Final = Rule(
    "history/too-few",
    "there are two checkpoints to compare",
    "A history needs two files with a codebook, or one and the base it was trained from. Name the folder of a run, "
    "such as logs/NAME/logs_s2_v2, and the base with --base.",
)
_TRAINED: Final = trained("history")


def run(history: History) -> Run:
    """Return a history as one case a file."""

    def at(rule: Rule, name: str, outcome: str, message: str, *, advisory: bool = False) -> Case:
        return Case(rule, name, outcome, message, os.path.join(history.folder, name), advisory=advisory)

    cases = [at(_MOVED, row.name, *_moved(row, each)) for each in history.runs for row in each.rows]
    cases += [at(_UNREADABLE, name, COULD_NOT_CHECK, why) for each in history.runs for name, why in each.unreadable]
    for each in history.runs:
        undecided = any(row.is_undecided for row in each.rows)
        if each.verdict == HistoryVerdict.COULD_NOT_CHECK and not each.unreadable and not undecided:
            said = run_headline(each, history.folder)
            name = "two checkpoints" if len(history.runs) == 1 else f"two checkpoints of {title(each)}"
            cases.append(Case(_TOO_FEW, name, COULD_NOT_CHECK, said, history.folder))
    cases += [at(_MOVED, name, NOT_APPLICABLE, what) for name, what in history.skipped]
    cases += [at(_TRAINED, name, FAILED, "never trained", advisory=True) for name in history.never_trained]
    cases += [
        at(_TRAINED, name, FAILED, f"{ailment}: {EXPLAINED[ailment]}", advisory=True)
        for name, ailment in history.ailing
    ]
    return Run("history", history.folder, history.verdict, history.exit_code, headline(history), tuple(cases))


def _moved(row: HistoryRow, training: TrainingRun) -> tuple[str, str]:
    """Return the outcome for one checkpoint, and the message."""
    held = f"{row.digest.algorithm} {digest(row)}"
    since = row.since_start
    if not row.drifts:
        return PASSED, f"the {'base' if training.base else 'first checkpoint'}: {held}"
    if row.is_undecided:
        return COULD_NOT_CHECK, f"a copy in it contradicts the one that was judged; --copy NAME chooses: {held}"
    if not row.moved:
        return PASSED, f"{(since or row.drifts[0]).verdict}: {held}"
    drift = (
        since if since and since.verdict == CHANGED else next(each for each in row.drifts if each.verdict == CHANGED)
    )
    start = ", the first that moved" if row is training.first_moved else ""
    codes = f"{drift.rows_changed} of {drift.rows} codes are not those of {', '.join(drift.against)}{start}"
    if not drift.rows_changed:
        codes = f"its VQ encoder is not that of {', '.join(drift.against)}{start}"
    far = "" if drift.displacement is None else f", by {drift.displacement:.3g} of half the way to the nearest (median)"
    first = (
        f", {training.rows[0].digest.short} at first"
        if row is not training.rows[0]
        else f", base {base_name(training)}"
    )
    return FAILED, f"{codes}{far}; {held}{first}"
