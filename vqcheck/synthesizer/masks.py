"""Masks of padded batches."""

import torch
from torch import Tensor


def sequence_mask(lengths: Tensor, size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return `[B, 1, size]` of `dtype`: 1 on the first `lengths[b]` frames of row b, 0 after them."""
    frames = torch.arange(size, device=lengths.device)
    return (frames < lengths[:, None]).unsqueeze(1).to(dtype)
