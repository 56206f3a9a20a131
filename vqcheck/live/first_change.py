"""Keeps the first step that changed each tensor of a live VQ encoder: on the device, and over data-parallel ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor, distributed

from vqcheck.errors import UsageError
from vqcheck.live.flat_copies import FlatCopies
from vqcheck.live.watch import EncoderWatch, bits

_NOT_CHANGED: Final = 0
_PIECE: Final = 1 << 18
"""Elements that are hashed at a time, to bound the memory that it takes."""
_ODD: Final = (0x9E3779B97F4A7C15 - (1 << 64), 0xBF58476D1CE4E5B9 - (1 << 64))
"""Odd constants of the SplitMix64 generator, as signed numbers."""


class FirstChanges:
    """The number of steps for which each tensor was bit by bit what it was at the start.

    Both the verdict of a step and the count stay on the device; only `read` waits for them.
    """

    def __init__(self, watch: EncoderWatch, steps: int = 0) -> None:
        self.steps = steps
        self.problems: dict[str, str] = {}
        """Names of tensors that are no longer comparable, and why."""
        self._watch = watch
        self._known: dict[str, int] = {}
        self._flat = self._laid_flat()

    @torch.no_grad()
    def step(self, now: Mapping[str, Tensor]) -> None:
        """Count one more step, after which the tensors are `now`."""
        self.look(now)
        self.steps += 1
        for flat in self._flat:
            flat.count()

    @torch.no_grad()
    def look(self, now: Mapping[str, Tensor]) -> None:
        """Compare without counting: what is found belongs to the step under way."""
        before = {name: tensor.device for name, tensor in self._watch.start.items()}
        for name, problem in self._watch.follow(now).items():
            if name not in self.problems:
                self.problems[name] = problem
                self._known.setdefault(name, self.steps + 1)
        start = self._watch.start
        if any(tensor.device != before[name] for name, tensor in start.items()):
            self.read()
            self._flat = self._laid_flat()
        comparable = {name: now[name] for name in start if name not in self.problems}
        for flat in self._flat:
            flat.compare(comparable)

    def read(self) -> dict[str, int]:
        """Return name -> the first step with other bits, for each tensor that ever had any; waits for the device."""
        for flat in self._flat:
            for name, clean in flat.read().items():
                self._known.setdefault(name, clean + 1)
        return dict(self._known)

    def let_go(self) -> None:
        """Give back the memory of the copies; there is nothing to compare any more."""
        self._flat = []
        self._watch.let_go()

    @torch.no_grad()
    def _laid_flat(self) -> list[FlatCopies]:
        """Lay the copies of each device behind each other, in the place of those that the watch has."""
        by_device: dict[torch.device, dict[str, Tensor]] = {}
        for name, tensor in self._watch.start.items():
            by_device.setdefault(tensor.device, {})[name] = tensor
        laid = [FlatCopies(tensors, self.steps) for tensors in by_device.values()]
        for flat in laid:
            self._watch.keep(flat.copies)
        return laid


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


def compare_ranks(
    first_steps: Mapping[str, int], tensors: Mapping[str, Tensor], names: Sequence[str], step: int
) -> AcrossRanks:
    """Return what changed on any rank, and what differs between ranks; every rank must call this at the same step.

    The one collective gathers 16 bytes for each tensor and rank: the first step, and a 64-bit fingerprint.
    """
    device = _device_of_group(tensors)
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
    return AcrossRanks(together, ranks)


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


def _device_of_group(tensors: Mapping[str, Tensor]) -> torch.device:
    """Return where the process group expects its tensors."""
    if distributed.get_backend() in ("gloo", "mpi"):
        return torch.device("cpu")
    own = next((tensor.device for tensor in tensors.values() if tensor.device.type != "cpu"), None)
    return own or torch.device("cuda", torch.cuda.current_device())
