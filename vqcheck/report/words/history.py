"""The history of a folder, in words."""

from vqcheck.codebook.comparison import CHANGED, UNDECIDED
from vqcheck.experiment.history import Drift, History


def headline(history: History) -> str:
    """Return what a folder's checkpoints come to, in one sentence without its full stop."""
    count = len(history.rows)
    if history.unreadable:
        also = f"; the VQ encoder moved at {history.first_moved.name}" if history.first_moved else ""
        return f"{len(history.unreadable)} of the files in {history.folder} cannot be read{also}"
    if count < 2:
        return f"{history.folder} holds {count} checkpoint(s) with a codebook, two are needed"
    moved = history.first_moved
    if history.undecided:
        names = ", ".join(row.name for row in history.undecided[:3])
        more = f" and {len(history.undecided) - 3} more" if len(history.undecided) > 3 else ""
        return f"copies in {names}{more} contradict the one that was judged; --copy chooses which to judge"
    if moved is None:
        return f"all {count} checkpoints hold the same VQ encoder"
    before = history.rows[history.rows.index(moved) - 1]
    return f"the VQ encoder moved between {before.name} and {moved.name}"


def moved(drift: Drift) -> str:
    """Return the median move of a code, or that it cannot be measured."""
    if drift.verdict == UNDECIDED:
        return "?"
    if drift.verdict != CHANGED:
        return "0"
    return "yes" if drift.displacement is None else f"{drift.displacement:.3f}"


def updates(drift: Drift) -> str:
    """Return how many EMA updates ran, or a dash where they left no trace to count by."""
    if drift.verdict == UNDECIDED:
        return "?"
    if drift.verdict != CHANGED:
        return "0"
    if drift.ema_steps is None:
        return "-"
    return f"{drift.ema_steps}" if drift.precision == "exact" else f"{drift.precision} {drift.ema_steps}"
