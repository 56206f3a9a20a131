"""How much of a tensor changed, in rows: what an error says about each."""

from typing import NamedTuple

import torch
from torch import Tensor

from vqcheck.codebook.family import CODES, EMA_COUNT, EMA_SUM, INIT_FLAG
from vqcheck.runtime.bits import bits
from vqcheck.runtime.live import LiveTensor


class Extent(NamedTuple):
    """Rows of a tensor, how many of them changed, and the greatest change of one value."""

    rows: int
    rows_changed: int
    max_abs: float


@torch.no_grad()
def extent(tensor: LiveTensor, now: Tensor, before: Tensor) -> Extent:
    """Return how two states of one tensor differ, bit by bit; a row is a code wherever the tensor has codes."""
    differs = _rows(tensor, (bits(now) != bits(before)).view(before.shape))
    distance = (now.double() - before.double()).abs()
    return Extent(len(differs), int(differs.sum()), float(distance.max()) if distance.numel() else 0.0)


def _rows(tensor: LiveTensor, differs: Tensor) -> Tensor:
    """Return `[rows]` for a stored shape."""
    if tensor.axes:
        differs = differs.permute(tensor.axes)
    if tensor.role in (CODES, EMA_SUM):
        return differs.reshape(tensor.shape).any(dim=-1).reshape(-1)
    if tensor.role in (EMA_COUNT, INIT_FLAG) or not differs.dim():
        return differs.reshape(-1)
    return differs.reshape(len(differs), -1).any(dim=1)
