"""The trace of `vqcheck replay` as a table: one row for each step of each arm."""

import csv
import math
from collections.abc import Sequence
from io import StringIO
from typing import Final

from vqcheck.replay.trace import Arm, Replay, StepTrace

_HEAD: Final = (
    "strategy",
    "step",
    "epoch",
    "commit_loss",
    "commit_loss_state",
    "shadow_commit_loss",
    "flipped_tokens",
    "learning_rate",
    "seconds",
    "optimizer_step_skipped",
)
_LOSSES: Final = ("discriminator", "generator", "feature", "mel", "kl")
"""Of the s2 step; other code has columns of its own instead."""
_TENSOR: Final = ("changed", "written", "rows_changed", "l2", "max_abs")


def document(replay: Replay) -> str:
    """Return the steps of all arms."""
    return table(replay.arms)


def table(arms: Sequence[Arm]) -> str:
    """Return all kept steps as CSV with a header; each tensor has its columns, named after its label.

    Values that are not finite, and times of steps that were slowed by attribution, are empty.
    """
    labels = list(dict.fromkeys(tensor.label for arm in arms for step in arm.steps[:1] for tensor in step.tensors))
    losses = list(dict.fromkeys(name for arm in arms for step in arm.steps for name in step.losses)) or _LOSSES
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*_HEAD, *losses, *(f"{label}.{figure}" for label in labels for figure in _TENSOR)])
    for arm in arms:
        for step in arm.steps:
            writer.writerow([arm.strategy, *_row(step, losses, labels)])
    return out.getvalue()


def _row(step: StepTrace, losses: Sequence[str], labels: Sequence[str]) -> list[object]:
    row: list[object] = [_plain(getattr(step, name)) for name in _HEAD[1:]]
    row += [_plain(step.losses.get(name)) for name in losses]
    by_label = {tensor.label: tensor for tensor in step.tensors}
    for label in labels:
        row += [_plain(getattr(by_label[label], figure)) for figure in _TENSOR]
    return row


def _plain(value: object) -> object:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return int(value) if isinstance(value, bool) else value
