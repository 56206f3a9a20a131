"""`vqcheck history` for machines."""

from typing import Any

from vqcheck.experiment.history import Drift, History
from vqcheck.report.json.digests import digest_object
from vqcheck.report.json.document import dump


def document(history: History) -> str:
    """Return the history of a folder as one JSON document, one entry for each checkpoint."""
    moved = history.first_moved
    return dump(
        "history",
        history.verdict,
        history.exit_code,
        folder=history.folder,
        scope=history.scope,
        first_moved=moved.name if moved else None,
        never_trained=list(history.never_trained),
        checkpoints=[
            {
                "name": row.name,
                "epoch": row.training.epoch,
                "steps": row.training.steps,
                "digest": digest_object(row.digest),
                "from_first": _drift(row.from_first),
                "from_previous": _drift(row.from_previous),
            }
            for row in history.rows
        ],
        skipped=[{"name": name, "reason": reason} for name, reason in history.skipped],
        unreadable=[{"name": name, "reason": reason} for name, reason in history.unreadable],
    )


def _drift(drift: Drift | None) -> dict[str, Any] | None:
    if drift is None:
        return None
    return {
        "verdict": drift.verdict,
        "rows_changed": drift.rows_changed,
        "rows": drift.rows,
        "displacement": drift.displacement,
        "ema_steps": drift.ema_steps,
        "precision": drift.precision,
    }
