"""Compares the VQ encoders of data-parallel processes with one small collective, so that all of them know the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, distributed

from vqcheck.runtime.bits import bits

_NOT_CHANGED: Final = 0
_PIECE: Final = 1 << 18
"""Elements that are hashed at a time, to bound the memory that it takes."""
_ODD: Final = (0x9E3779B97F4A7C15 - (1 << 64), 0xBF58476D1CE4E5B9 - (1 << 64))
"""Odd constants of the SplitMix64 generator, as signed numbers."""


@dataclass(frozen=True)
class Across:
    """What all processes know together, the same on each."""

    first_steps: Mapping[str, int]
    """Name -> the first step that changed the tensor on any rank."""
    ranks: Mapping[str, tuple[int, ...]]
    """Name -> the ranks on which it changed, or on which it is not what it is on rank 0."""


def several() -> bool:
    """Tell whether this process is one of several."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def compare_ranks(
    first_steps: Mapping[str, int], tensors: Mapping[str, Tensor], names: Sequence[str], step: int
) -> Across:
    """Return what changed on any rank, and what differs between ranks; every rank must call this at the same step.

    The one collective gathers 16 bytes for each tensor and rank: the first step, and a 64-bit fingerprint.
    """
    device = _device(tensors)
    steps = torch.tensor([first_steps.get(name, _NOT_CHANGED) for name in names], device=device)
    prints = torch.stack(
        [fingerprint(tensors[name]).to(device) if name in tensors else torch.zeros_like(steps[0]) for name in names]
    )
    own = torch.cat([steps, prints])
    gathered = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
    distributed.all_gather(gathered, own)
    table = torch.stack(gathered).tolist()

    together: dict[str, int] = {}
    ranks: dict[str, tuple[int, ...]] = {}
    for column, name in enumerate(names):
        changed = [row[column] for row in table]
        hashes = [row[len(names) + column] for row in table]
        off = [rank for rank in range(len(table)) if changed[rank] != _NOT_CHANGED or hashes[rank] != hashes[0]]
        if off:
            together[name] = min((first for first in changed if first != _NOT_CHANGED), default=step)
            ranks[name] = tuple(off)
    return Across(together, ranks)


@torch.no_grad()
def fingerprint(tensor: Tensor) -> Tensor:
    """Return a 64-bit hash of a tensor's bits, SplitMix64 of bits and position, summed: int64 `[]` on its device."""
    elements = bits(tensor.detach())
    total = torch.zeros((), dtype=torch.int64, device=tensor.device)
    for start in range(0, elements.numel(), _PIECE):
        piece = elements[start : start + _PIECE].to(torch.int64)
        position = torch.arange(start + 1, start + 1 + len(piece), device=tensor.device)
        mixed = piece ^ (position * _ODD[0])
        mixed = (mixed ^ (mixed >> 30)) * _ODD[1]
        total += (mixed ^ (mixed >> 27)).sum()
    return total


def _device(tensors: Mapping[str, Tensor]) -> torch.device:
    """Return where the process group expects its tensors."""
    if distributed.get_backend() in ("gloo", "mpi"):
        return torch.device("cpu")
    own = next((tensor.device for tensor in tensors.values() if tensor.device.type != "cpu"), None)
    return own or torch.device("cuda", torch.cuda.current_device())
