"""Saves an arm's networks as upstream's training script does, so that any tool reads them as such."""

import os
from typing import TYPE_CHECKING

import torch
from torch import nn

from vqcheck.errors import UsageError

if TYPE_CHECKING:
    from vqcheck.replay.arm import ArmRun


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
    temporary = f"{path}.tmp"
    torch.save(content, temporary)
    os.replace(temporary, path)
