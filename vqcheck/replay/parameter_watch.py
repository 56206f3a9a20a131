"""Which parameters of a generator moved, and whether those held still that learn nothing: what LoRA training promises.

Only fingerprints are kept of the start, since the decoder of v3 holds 1.3 GB. It runs in a checkout's Python too: 3.9,
torch 2.0.
"""

from __future__ import annotations

import ctypes
import hashlib
from typing import TYPE_CHECKING

from vqcheck.replay.trace import PartMoves

if TYPE_CHECKING:
    from torch import Tensor, nn

_ADAPTERS = ("lora_A", "lora_B")


class ParameterWatch:
    """Fingerprints of a network's parameters as they stand when it is made, the optimizer's or not."""

    def __init__(self, net: nn.Module) -> None:
        self._start = {name: (each.requires_grad, _fingerprint(each)) for name, each in net.named_parameters()}

    def moves(self, net: nn.Module) -> tuple[PartMoves, ...]:
        """Return what moved since, by part, in the network's order; a parameter that is gone has moved."""
        now = dict(net.named_parameters())
        counts: dict[str, list[int]] = {}
        for name, (learns, start) in self._start.items():
            moved = name not in now or _fingerprint(now[name]) != start
            part = counts.setdefault(part_of(name), [0, 0, 0, 0])
            part[0 if learns else 2] += 1
            part[1 if learns else 3] += moved
        return tuple(PartMoves(part, *numbers) for part, numbers in counts.items())


def part_of(name: str) -> str:
    """Return `lora_A` or `lora_B` for a matrix of an adapter, and the outermost module's name for others."""
    parts = name.split(".")
    return next((part for part in parts if part in _ADAPTERS), parts[0])


def _fingerprint(tensor: Tensor) -> bytes:
    """Return the SHA-256 of a tensor's bits."""
    data = tensor.detach().cpu().contiguous()
    size = data.numel() * data.element_size()
    content = (ctypes.c_char * size).from_address(data.data_ptr()) if size else b""
    return hashlib.sha256(content).digest()
