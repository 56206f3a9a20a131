"""The history of a folder as checks: one a checkpoint."""

import os
from typing import Final

from vqcheck.codebook.comparison import CHANGED
from vqcheck.experiment.history import History, Row
from vqcheck.report.cases.case import COULD_NOT_CHECK, FAILED, NOT_APPLICABLE, PASSED, Case, Rule, Run
from vqcheck.report.cases.trained import trained
from vqcheck.report.words.history import headline

_MOVED: Final = Rule(
    "history/moved",
    "the VQ encoder is the one of the first checkpoint",
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
    "A history needs two files with a codebook. Name the folder of a run, such as logs/NAME/logs_s2_v2.",
)
_TRAINED: Final = trained("history")


def run(history: History) -> Run:
    """Return a history as one case a file."""

    def at(rule: Rule, name: str, outcome: str, message: str, *, advisory: bool = False) -> Case:
        return Case(rule, name, outcome, message, os.path.join(history.folder, name), advisory=advisory)

    cases = [at(_MOVED, row.name, *_moved(row, history)) for row in history.rows]
    cases += [at(_UNREADABLE, name, COULD_NOT_CHECK, why) for name, why in history.unreadable]
    if len(history.rows) < 2 and not history.unreadable:
        cases.append(Case(_TOO_FEW, "two checkpoints", COULD_NOT_CHECK, headline(history), history.folder))
    cases += [at(_MOVED, name, NOT_APPLICABLE, what) for name, what in history.skipped]
    cases += [at(_TRAINED, name, FAILED, "never trained", advisory=True) for name in history.never_trained]
    return Run("history", history.folder, history.verdict, history.exit_code, headline(history), tuple(cases))


def _moved(row: Row, history: History) -> tuple[str, str]:
    """Return the outcome for one checkpoint, and the message."""
    digest = f"{row.digest.algorithm} {row.digest.short}"
    if row.from_first is None:
        return PASSED, f"the first checkpoint: {digest}"
    if row.is_undecided:
        return COULD_NOT_CHECK, f"a copy in it contradicts the one that was judged; --copy chooses: {digest}"
    if row.from_first.verdict != CHANGED:
        return PASSED, f"{row.from_first.verdict}: {digest}"
    first = history.rows[0]
    drift = row.from_first
    start = ", the first that moved" if row is history.first_moved else ""
    codes = f"{drift.rows_changed} of {drift.rows} codes are not those of {first.name}{start}"
    far = "" if drift.displacement is None else f", by {drift.displacement:.3g} of half the way to the nearest (median)"
    return FAILED, f"{codes}{far}; {digest}, {first.digest.short} at first"
