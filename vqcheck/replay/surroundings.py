"""Where a replay runs: device and precision as configured, the processes of torchrun, torch's global settings."""

import os
import platform
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed

from vqcheck.errors import UsageError
from vqcheck.language import tr, trn

if TYPE_CHECKING:
    from vqcheck.experiment.config import Config


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
        raise UsageError(tr("device {device!r}: expected auto, cpu, cuda or cuda:N", device=name)) from None
    if device.type not in ("cpu", "cuda"):
        raise UsageError(tr("device {device!r}: expected auto, cpu, cuda or cuda:N", device=name))
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        index = local_rank() if device.index is None else device.index
        if index >= count:
            raise UsageError(
                tr(
                    "device {device!r}: this torch {version} sees {count} CUDA devices",
                    device=name,
                    version=torch.__version__,
                    count=count,
                )
            )
        return torch.device("cuda", index)
    return device


def choose_fp16(config: "Config", device: torch.device) -> bool:
    """Return whether to train in half precision; on a CPU upstream's autocast does nothing.

    Raises:
        UsageError: fp16 was asked for on a CPU.

    """
    if config.replay.precision == "fp16" and device.type != "cuda":
        raise UsageError(tr("precision fp16: needs CUDA (on a CPU upstream's autocast does nothing)"))
    if config.replay.precision == "auto":
        return config.training.fp16_run and device.type == "cuda"
    return config.replay.precision == "fp16"


def device_name(device: torch.device) -> str:
    """Return what people call a device."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    threads = torch.get_num_threads()
    return tr(
        "CPU ({machine}, {threads})",
        machine=platform.machine(),
        threads=trn("{number} thread", "{number} threads", threads),
    )


@contextmanager
def upstream_settings(device: torch.device, threads: int | None) -> Iterator[None]:
    """Allow TF32 as upstream does, and restore that, the number of threads and every random state afterwards.

    `threads` is the number of CPU threads; None leaves it.
    """
    precision, cudnn_tf32 = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    before = torch.get_num_threads()
    drawn = random.getstate()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.backends.cudnn.allow_tf32 = True
        torch.set_float32_matmul_precision("medium")
        if threads:
            torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(precision)
            torch.backends.cudnn.allow_tf32 = cudnn_tf32
            torch.set_num_threads(before)
            random.setstate(drawn)


def world_size() -> int:
    """Return the number of processes that torchrun started.

    Raises:
        UsageError: the environment says none.

    """
    return _number("WORLD_SIZE", "1") if "RANK" in os.environ else 1


def rank() -> int:
    """Return this process's number, 0 for a process alone."""
    return _number("RANK", "0") if world_size() > 1 else 0


def local_rank() -> int:
    """Return this process's number on its machine, which is that of its GPU."""
    return _number("LOCAL_RANK", "0") if world_size() > 1 else 0


def _number(name: str, default: str) -> int:
    said = os.environ.get(name, default)
    if not (said.isascii() and said.isdecimal() and len(said) < 9):
        raise UsageError(
            tr(
                "the environment variable {variable} is {said!r}, expected a number as torchrun sets it",
                variable=name,
                said=said[:20],
            )
        )
    return int(said)


@contextmanager
def process_group(device: torch.device | None) -> Iterator[None]:
    """Join the processes that torchrun started: nccl on CUDA, gloo on a CPU; without a device, both as they are there.

    Raises:
        UsageError: the environment describes no such processes, or they cannot be reached.

    """
    if world_size() == 1:
        yield
        return
    try:
        # without a backend, torch takes one for each kind of device
        distributed.init_process_group(None if device is None else "nccl" if device.type == "cuda" else "gloo")
    except (ValueError, RuntimeError) as error:
        raise UsageError(
            tr("cannot join the processes of torchrun: {reason}", reason=" ".join(str(error).split()))
        ) from None
    try:
        # nccl works on the current device
        with torch.cuda.device(device) if device and device.type == "cuda" else nullcontext():
            yield
    finally:
        distributed.destroy_process_group()


def ranks_of_children() -> dict[str, Any] | None:
    """Return how child processes, one of each process of torchrun, join a group of their own; None for one alone."""
    if world_size() == 1:
        return None
    address = os.environ.get("MASTER_ADDR", "localhost")
    chosen: list[Any] = [None]
    if rank() == 0:
        with socket.create_server(("", 0)) as free:
            chosen = [f"tcp://{address}:{free.getsockname()[1]}"]
    distributed.broadcast_object_list(chosen, src=0)
    return {"init_method": chosen[0], "rank": rank(), "world_size": world_size()}
