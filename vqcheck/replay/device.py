"""Where a replay runs, and in what precision: as asked for, or refused."""

import platform

import torch

from vqcheck.errors import UsageError
from vqcheck.experiment.config import Config
from vqcheck.replay import ranks


def choose_device(name: str) -> torch.device:
    """Return the device; auto is CUDA where there is one.

    Raises:
        UsageError: CUDA was asked for and is not there, or the name is no device.

    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"device {name!r}: expected auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"device {name!r}: expected auto, cpu, cuda or cuda:N")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        index = ranks.local_rank() if device.index is None else device.index
        if index >= count:
            raise UsageError(f"device {name!r}: this torch {torch.__version__} sees {count} CUDA devices")
        return torch.device("cuda", index)
    return device


def choose_fp16(config: Config, device: torch.device) -> bool:
    """Return whether to train in half precision; on a CPU upstream's autocast does nothing.

    Raises:
        UsageError: fp16 was asked for on a CPU.

    """
    if config.replay.precision == "fp16" and device.type != "cuda":
        raise UsageError("precision fp16: needs CUDA (on a CPU upstream's autocast does nothing)")
    if config.replay.precision == "auto":
        return config.training.fp16_run and device.type == "cuda"
    return config.replay.precision == "fp16"


def device_name(device: torch.device) -> str:
    """Return what people call a device."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    threads = torch.get_num_threads()
    return f"CPU ({platform.machine()}, {threads} thread{'s' * (threads != 1)})"
