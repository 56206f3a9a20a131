"""`vqcheck history` for machines."""

from typing import Any

from vqcheck.audit.history_result import Drift, History, HistoryRow, TrainingRun
from vqcheck.report.json.digests import digest_object
from vqcheck.report.json.document import dump


def document(history: History) -> str:
    """Return the history of a folder as one JSON document, one entry for each run and each checkpoint in it."""
    return dump(
        "history",
        history.verdict,
        history.exit_code,
        folder=history.folder,
        scope=history.scope,
        never_trained=list(history.never_trained),
        ailments=[{"name": name, "ailment": ailment} for name, ailment in history.ailing],
        runs=[_run(run) for run in history.runs],
        skipped=_files(history.skipped),
    )


def _run(run: TrainingRun) -> dict[str, Any]:
    moved = run.first_moved
    return {
        "name": run.name,
        "verdict": run.verdict,
        "compared_with": run.compared_with,
        "base": None if run.base is None else {"path": run.base.path, "told_by": run.base.told_by},
        "base_note": run.base_note,
        "first_moved": moved.name if moved else None,
        "checkpoints": [_row(row) for row in run.rows],
        "unreadable": _files(run.unreadable),
    }


def _row(row: HistoryRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "kind": row.record.kind.value,
        "epoch": row.record.epoch,
        "steps": row.record.steps,
        "digest": digest_object(row.digest),
        "digest_of": row.digest_of,
        "from_base": _drift(row.from_base),
        "from_first": _drift(row.from_first),
        "from_previous": _drift(row.from_previous),
    }


def _drift(drift: Drift | None) -> dict[str, Any] | None:
    if drift is None:
        return None
    return {
        "against": list(drift.against),
        "verdict": drift.verdict,
        "rows_changed": drift.rows_changed,
        "rows": drift.rows,
        "displacement": drift.displacement,
        "ema_steps": drift.ema_steps,
        "precision": drift.precision,
    }


def _files(files: tuple[tuple[str, str], ...]) -> list[dict[str, str]]:
    return [{"name": name, "reason": reason} for name, reason in files]
