"""Saves an arm's networks as upstream's training script does, so that any tool reads them as such."""

import os
import tempfile
from typing import TYPE_CHECKING

import torch
from torch import nn

from vqcheck.atomic_write import atomic_write
from vqcheck.errors import UsageError

if TYPE_CHECKING:
    from vqcheck.replay.arm import ArmRun


def check_folder(folder: str) -> None:
    """Make the folder and see that it can be written, before anything is trained.

    Raises:
        UsageError: it cannot.

    """
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written: {error.strerror}") from None


def save_checkpoints(arm: "ArmRun", folder: str, strategy: str) -> str:
    """Write `G_<step>.pth` and `D_<step>.pth` into a folder of the strategy's name, and return the first one's path.

    Raises:
        UsageError: the folder or a file cannot be written.

    """
    target = os.path.join(folder, strategy)
    step = arm.training_step
    generator = os.path.join(target, f"G_{arm.steps_run}.pth")
    try:
        os.makedirs(target, exist_ok=True)
        _save(generator, step.net_g, step.optim_g, arm)
        _save(os.path.join(target, f"D_{arm.steps_run}.pth"), step.net_d, step.optim_d, arm)
    except OSError as error:
        raise UsageError(f"{target}: cannot be written: {error.strerror}") from None
    return generator


def _save(path: str, net: nn.Module, optimizer: torch.optim.Optimizer, arm: "ArmRun") -> None:
    content = {
        "model": net.state_dict(),
        "iteration": arm.epoch,
        "optimizer": optimizer.state_dict(),
        "learning_rate": arm.learning_rate,
    }
    with atomic_write(path) as stream:
        try:
            torch.save(content, stream)
        except RuntimeError as error:
            # What torch says when the stream fails, in its own words.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise
