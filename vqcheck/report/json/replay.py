"""`vqcheck replay` for machines."""

import math
from typing import Any

from vqcheck.codebook.digest import EncoderDigests
from vqcheck.replay.trace import Arm, FirstWrite, LossRange, Replay, SourceLine, StepTrace, TensorStep
from vqcheck.report.json.digests import digests_object
from vqcheck.report.json.document import dump


def document(replay: Replay) -> str:
    """Return a replay as one JSON document; a figure that is not finite is null."""
    setting = replay.setting
    return dump(
        "replay",
        replay.verdict,
        replay.exit_code,
        complete=replay.complete,
        failure=replay.failure,
        setting={
            "subject": setting.subject,
            "code": setting.code,
            "weights": setting.weights,
            "data": setting.data,
            "steps": setting.steps,
            "batch_size": setting.batch_size,
            "seed": setting.seed,
            "device": setting.device,
            "precision": setting.precision,
            "processes": setting.processes,
            "torch": setting.torch,
            "probe_tokens": setting.probe_tokens,
            "notes": list(setting.notes),
        },
        arms=[_arm(arm) for arm in replay.arms],
    )


def _arm(arm: Arm) -> dict[str, Any]:
    return {
        "strategy": arm.strategy,
        "stops": arm.stops,
        "verdict": arm.verdict,
        "expected": arm.expected,
        "control": arm.is_control,
        "uses_codebook": arm.uses_codebook,
        "complete": arm.complete,
        "steps_run": arm.steps_run,
        "kept_every": arm.kept_every,
        "commit_loss": _extent(arm.commit_loss),
        "shadow_commit_loss": _extent(arm.shadow_commit_loss),
        "first_writes": [_write(write) for write in arm.first_writes],
        "digests": {
            "start": digests_object(arm.digest_at_start),
            "first_change": _digests(arm.digest_at_first_change),
            "end": digests_object(arm.digest_at_end),
        },
        "optimizer_steps_skipped": arm.skipped_steps,
        "steps_with_rank_differences": arm.rank_differences,
        "median_step_seconds": arm.median_seconds,
        "median_tracing_seconds": arm.tracing_seconds,
        "checkpoint": arm.checkpoint,
        "steps": [_step(step) for step in arm.steps],
    }


def _step(step: StepTrace) -> dict[str, Any]:
    return {
        "step": step.step,
        "epoch": step.epoch,
        "commit_loss": _finite(step.commit_loss),
        "commit_loss_state": step.commit_loss_state,
        "shadow_commit_loss": _finite(step.shadow_commit_loss),
        "losses": {name: _finite(value) for name, value in step.losses.items()},
        "gradient_norms": {name: _finite(value) for name, value in step.gradient_norms.items()},
        "flipped_tokens": step.flipped_tokens,
        "learning_rate": _finite(step.learning_rate),
        "seconds": step.seconds,
        "differing_across_ranks": list(step.differing_across_ranks),
        "optimizer_step_skipped": step.optimizer_step_skipped,
        "tensors": [_tensor(tensor) for tensor in step.tensors],
    }


def _tensor(tensor: TensorStep) -> dict[str, Any]:
    return {
        "label": tensor.label,
        "changed": tensor.changed,
        "written": tensor.written,
        "rows_changed": tensor.rows_changed,
        "rows": tensor.rows,
        "l2": _finite(tensor.l2),
        "max_abs": _finite(tensor.max_abs),
        "problem": tensor.problem or None,
    }


def _write(write: FirstWrite) -> dict[str, Any]:
    return {
        "label": write.label,
        "first_changed_step": write.first_changed_step,
        "attributed": write.traced_step is not None,
        "traced_step": write.traced_step,
        "operator": write.operator or None,
        "file": write.file or None,
        "line": write.line or None,
        "function": write.function or None,
        "called_from": _source_line(write.called_from),
    }


def _source_line(found: SourceLine | None) -> dict[str, Any] | None:
    return {"file": found.file, "line": found.line, "function": found.function} if found else None


def _digests(digests: EncoderDigests | None) -> dict[str, Any] | None:
    return digests_object(digests) if digests else None


def _extent(extent: LossRange) -> dict[str, float | None]:
    return {"low": _finite(extent.low), "high": _finite(extent.high)}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
