"""Data-parallel processes, and the comparison of their tensors by fingerprints, so that no copy is sent."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from vqcheck.errors import UsageError
from vqcheck.live.watch import bits

_NOT_CHANGED: Final = 0
_ABSENT: Final = -1
"""Stands for the fingerprint of a tensor that a process has no more."""
_PIECE: Final = 1 << 18
"""Elements that are hashed at a time, to bound the memory that it takes."""
_ODD: Final = (0x9E3779B97F4A7C15 - (1 << 64), 0xBF58476D1CE4E5B9 - (1 << 64))
"""Odd constants of the SplitMix64 generator, as signed numbers."""


@dataclass(frozen=True)
class AcrossRanks:
    """What all processes know together, the same on each."""

    first_steps: Mapping[str, int]
    """Name -> the first step that changed the tensor on any rank."""
    ranks: Mapping[str, tuple[int, ...]]
    """Name -> the ranks on which it changed, or on which it is not what it is on rank 0."""


Ranks = Literal["compare", "own"]
"""Whether a look asks the other processes, which then must look as often."""


def require_ranks(ranks: str) -> None:
    """Raise UsageError if it is none of the two."""
    if ranks not in ("compare", "own"):
        raise UsageError(f"ranks: expected 'compare' or 'own', given {ranks!r}")


def several_ranks() -> bool:
    """Tell whether this process is one of several."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def data_parallel(net: nn.Module) -> nn.Module:
    """Wrap a network as GPT-SoVITS does, if there are several processes; it stands on its device already."""
    if not several_ranks():
        return net
    device = next(net.parameters()).device
    ids = None if device.type == "cpu" else [device]
    return DistributedDataParallel(net, device_ids=ids, find_unused_parameters=True)


def compare_ranks(
    first_steps: Mapping[str, int], tensors: Mapping[str, Tensor], names: Sequence[str], step: int
) -> AcrossRanks:
    """Return what changed on any rank, and what differs between ranks; every rank must call this at the same step.

    The one collective gathers 16 bytes for each tensor and rank: the first step, and a 64-bit fingerprint.
    """
    device = _device_of_group(tensors)
    steps = torch.tensor([first_steps.get(name, _NOT_CHANGED) for name in names], device=device)
    table = _gathered(torch.cat([steps, _fingerprints(tensors, names, device)]))
    together: dict[str, int] = {}
    ranks: dict[str, tuple[int, ...]] = {}
    for column, name in enumerate(names):
        changed = [row[column] for row in table]
        hashes = [row[len(names) + column] for row in table]
        off = [rank for rank in range(len(table)) if changed[rank] != _NOT_CHANGED or hashes[rank] != hashes[0]]
        if off:
            together[name] = min((first for first in changed if first != _NOT_CHANGED), default=step)
            ranks[name] = tuple(off)
    return AcrossRanks(together, ranks)


def differing(tensors: Mapping[str, Tensor], names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of tensors that are not rank 0's on some process; the same answer on every process.

    Every rank must call this at the same step, with the same names; none is needed where there is one process.
    """
    if not several_ranks():
        return ()
    table = _gathered(_fingerprints(tensors, names, _device_of_group(tensors)))
    return tuple(name for column, name in enumerate(names) if any(row[column] != table[0][column] for row in table))


@torch.no_grad()
def fingerprint(tensor: Tensor) -> Tensor:
    """Return a 64-bit hash of a tensor, int64 `[]` on its device: dtype, shape, and SplitMix64 of bits and position."""
    elements = bits(tensor.detach())
    kind = zlib.crc32(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
    total = torch.full((), kind, dtype=torch.int64, device=tensor.device)
    for start in range(0, elements.numel(), _PIECE):
        piece = elements[start : start + _PIECE].to(torch.int64)
        position = torch.arange(start + 1, start + 1 + len(piece), device=tensor.device)
        mixed = piece ^ (position * _ODD[0])
        mixed = (mixed ^ (mixed >> 30)) * _ODD[1]
        total += (mixed ^ (mixed >> 27)).sum()
    return total


def _fingerprints(tensors: Mapping[str, Tensor], names: Sequence[str], device: torch.device) -> Tensor:
    """Return `[names]`, on the device of the process group."""
    absent = torch.tensor(_ABSENT, device=device)
    return torch.stack([fingerprint(tensors[name]).to(device) if name in tensors else absent for name in names])


def _gathered(own: Tensor) -> list[list[int]]:
    """Return each rank's numbers."""
    gathered = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
    distributed.all_gather(gathered, own)
    table: list[list[int]] = torch.stack(gathered).tolist()
    return table


def _device_of_group(tensors: Mapping[str, Tensor]) -> torch.device:
    """Return where the process group expects its tensors; a group of several backends has gloo for the CPU."""
    backend = str(distributed.get_backend())
    if backend == "undefined" or any(each in backend for each in ("gloo", "mpi")):
        return torch.device("cpu")
    own = next((tensor.device for tensor in tensors.values() if tensor.device.type != "cpu"), None)
    return own or torch.device("cuda", torch.cuda.current_device())
