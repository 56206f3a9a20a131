"""What a replay needs when it runs as one of several processes; with one process each is nothing at all."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, distributed

from vqcheck.errors import UsageError
from vqcheck.live.watch import bits


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
        raise UsageError(f"the environment variable {name} is {said[:20]!r}, expected a number as torchrun sets it")
    return int(said)


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the processes that torchrun started: nccl on CUDA, gloo on a CPU.

    Raises:
        UsageError: the environment describes no such processes, or they cannot be reached.

    """
    if world_size() == 1:
        yield
        return
    try:
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    except (ValueError, RuntimeError) as error:
        raise UsageError(f"cannot join the processes of torchrun: {' '.join(str(error).split())}") from None
    try:
        # nccl works on the current device
        with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
            yield
    finally:
        distributed.destroy_process_group()


def differing(tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return the labels of tensors whose bits are not rank 0's on some process; the same answer on every process."""
    if world_size() == 1 or not distributed.is_initialized():
        return ()
    differs = []
    for tensor in tensors.values():
        own = bits(tensor)
        first = own.clone()
        distributed.broadcast(first, src=0)
        differs.append((own != first).any())
    flags = torch.stack(differs).int()
    distributed.all_reduce(flags, op=distributed.ReduceOp.MAX)
    return tuple(label for label, flag in zip(tensors, flags.tolist(), strict=True) if flag)
