"""Cuts random segments out of sequences of different lengths, and masks what lies behind their ends."""

import torch
from torch import Tensor

from vqcheck.synthesizer.checks import check_range
from vqcheck.synthesizer.errors import InputError


def slice_segments(x: Tensor, starts: Tensor, size: int) -> Tensor:
    """Return `[B, C, size]`: from row b of x `[B, C, T]` the frames from `starts[b]` (int64 `[B]`) on.

    Raises InputError where a segment does not lie inside x (on a GPU torch's own device assertion does, since reading
    the starts would make the host wait).
    """
    if size > x.size(2):
        raise InputError(f"size: expected at most the {x.size(2)} frames of x, given {size}")
    if starts.device.type == "cpu":
        check_range("starts", starts, 0, x.size(2) - size, f"segments of {size} in x {list(x.shape)}")
    frames = starts[:, None] + torch.arange(size, device=starts.device)
    return x.gather(2, frames[:, None, :].expand(-1, x.size(1), -1))


def rand_slice_segments(x: Tensor, lengths: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return random segments `[B, C, size]` of the first `lengths[b]` frames of x `[B, C, T]`, and their starts `[B]`.

    The draw is made on the CPU, so a seed gives the same segments on every device.  Raises InputError where a length is
    below `size` or beyond x (only where lengths are on the CPU, for the same reason as in slice_segments).
    """
    if lengths.device.type == "cpu":
        check_range(
            "lengths", lengths, size, x.size(2), f"at least one segment, at most the frames of x {list(x.shape)}"
        )
    starts = (torch.rand([x.size(0)]).to(x.device, non_blocking=True) * (lengths - size + 1)).long()
    return slice_segments(x, starts, size), starts


def sequence_mask(lengths: Tensor, size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return `[B, 1, size]` of `dtype`: 1 on the first `lengths[b]` frames of row b, 0 after them."""
    frames = torch.arange(size, device=lengths.device)
    return (frames < lengths[:, None]).unsqueeze(1).to(dtype)
