"""Compares the tensors of one device with their copies in a handful of operators, however many tensors there are.

The copies lie behind each other in one flat tensor, each from the start of a block on. One comparison with everything
as it stands now gives the blocks that differ; only a read asks which tensors these belong to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor, nn

from vqcheck.live.watch import INTEGERS, bits

_BLOCK: Final = 1024
"""Elements of one block."""


class FlatCopies:
    """Copies of tensors, and for how many steps each block of them was still the same, all on the device."""

    def __init__(self, tensors: Mapping[str, Tensor], steps: int) -> None:
        # bits can be read as integers of the narrowest type among the tensors, and of no wider one
        width = min(tensor.element_size() for tensor in tensors.values())
        device = next(iter(tensors.values())).device
        padding = torch.zeros(_BLOCK, dtype=INTEGERS[width], device=device)
        self._live = {name: _LiveBits(tensor, width, padding) for name, tensor in tensors.items()}
        self._flat = self._laid_out()
        # fresh memory costs a CPU several times what is done with it; on other devices torch keeps memory at hand
        on_cpu = device.type == "cpu"
        self._scratch = torch.empty_like(self._flat).view(-1) if on_cpu else None
        self._equal = torch.empty_like(self._flat, dtype=torch.bool) if on_cpu else None
        self._ends: dict[str, int] = {}
        self.copies: dict[str, Tensor] = {}
        """The copies by name, as views of the flat tensor: nobody needs to keep others."""
        block = 0
        for name, tensor in tensors.items():
            length = len(self._live[name].bits)
            own = self._flat.view(-1)[block * _BLOCK : block * _BLOCK + length]
            self.copies[name] = own.view(tensor.dtype).view(tensor.shape)
            block += -(-length // _BLOCK)
            self._ends[name] = block
        self._same = torch.ones(block, dtype=torch.bool, device=device)
        self._clean = torch.full((block,), steps, dtype=torch.int64, device=device)

    def compare(self, now: Mapping[str, Tensor]) -> None:
        """Compare with tensors of the same shape, dtype and device; a name that is left out counts as the same."""
        for name, copy in self.copies.items():
            self._live[name].follow(now.get(name, copy))
        self._same &= torch.eq(self._laid_out(self._scratch), self._flat, out=self._equal).all(dim=1)

    def count(self) -> None:
        """Count one more step."""
        self._clean += self._same

    def read(self) -> dict[str, int]:
        """Return name -> steps before the first change, for each tensor that changed; waits for the device."""
        clean = torch.where(self._same, -1, self._clean).tolist()
        found, block = {}, 0
        for name, end in self._ends.items():
            changed = [steps for steps in clean[block:end] if steps >= 0]
            block = end
            if changed:
                found[name] = min(changed)
        return found

    def _laid_out(self, scratch: Tensor | None = None) -> Tensor:
        """Return `[blocks, elements]` of everything as it stands now, in the memory given if any."""
        pieces = [piece for live in self._live.values() for piece in (live.bits, live.padding)]
        return torch.cat(pieces, out=scratch).view(-1, _BLOCK)


class _LiveBits:
    """The bits of one tensor where they stand, `[N]`: a view of its memory that is made anew only when that is another.

    The view keeps the memory that it shows, so no other tensor can come to the same address unnoticed.
    """

    def __init__(self, tensor: Tensor, width: int, padding: Tensor) -> None:
        self._type = INTEGERS[width]
        self.bits = self._read(tensor)
        self.padding = padding[: -len(self.bits) % _BLOCK]
        """What fills the last block."""

    def follow(self, tensor: Tensor) -> None:
        """Show another tensor of the same shape and dtype, or the same one as it stands now."""
        if not self._shows(tensor):
            self.bits = self._read(tensor)

    def _shows(self, tensor: Tensor) -> bool:
        """Tell whether the bits are a view of where this tensor has its values."""
        if type(tensor) not in (Tensor, nn.Parameter) or not tensor.is_contiguous() or tensor.is_neg():
            return False
        try:
            return tensor.device == self.bits.device and tensor.data_ptr() == self.bits.data_ptr()
        except RuntimeError:
            # memory that was taken away, as fully_shard does
            return False

    def _read(self, tensor: Tensor) -> Tensor:
        return bits(tensor.detach()).view(self._type)
