"""Which items stand in which batch: items of similar length together, as upstream's bucket sampler has it."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Final

import torch

BOUNDARIES: Final = (32, *range(300, 2000, 100))
"""Limits of the buckets in spectrogram frames; an item of 32 frames or fewer, or of more than 1900, is left out."""


def is_kept(length: int) -> bool:
    """Tell whether an item of so many frames is trained on."""
    return bool(BOUNDARIES[0] < length <= BOUNDARIES[-1])


def epoch_batches(
    lengths: Sequence[int], epoch: int, batch_size: int, rank: int = 0, world: int = 1
) -> list[list[int]]:
    """Return this process's batches of an epoch, as positions in `lengths` (frames).

    Each bucket is shuffled, filled up by repetition to whole batches on every process, and shared out in turns; then
    the batches are shuffled. The draw depends on the epoch alone.
    """
    generator = torch.Generator().manual_seed(epoch)
    buckets: list[list[int]] = [[] for _ in BOUNDARIES[1:]]
    for position, length in enumerate(lengths):
        if is_kept(length):
            buckets[bisect_left(BOUNDARIES, length) - 1].append(position)
    batches: list[list[int]] = []
    for bucket in filter(None, buckets):
        order = [bucket[i] for i in torch.randperm(len(bucket), generator=generator).tolist()]
        whole = -(-len(order) // (batch_size * world)) * batch_size * world
        filled = (order * (-(-whole // len(order))))[:whole]
        own = filled[rank::world]
        batches += [own[start : start + batch_size] for start in range(0, len(own), batch_size)]
    return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]


def endless_batches(
    lengths: Sequence[int], batch_size: int, rank: int = 0, world: int = 1
) -> Iterator[tuple[int, list[int]]]:
    """Yield (epoch, positions) for one epoch after another, from epoch 1 on; nothing if no item is kept."""
    epoch = 1
    while batches := epoch_batches(lengths, epoch, batch_size, rank, world):
        for batch in batches:
            yield epoch, batch
        epoch += 1
