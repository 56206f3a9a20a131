"""Gathers the features of many recordings into matrices large enough for fast products."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from vqcheck.codebook.half_lookup import is_half
from vqcheck.codebook.tokenizer import Features
from vqcheck.experiment.name2semantic import TokenRow

FRAMES: Final = 1024
"""Token frames of a batch: enough for the processor's peak, and its distances still fit a cache."""


@dataclass(frozen=True, eq=False)
class FrameBatch:
    """Frames of several recordings, in order. The arrays are used again for the next batch."""

    patches: npt.NDArray[np.float32]
    """`[frames, taps * channels]`: what the projection's matrix is multiplied with"""
    recorded: npt.NDArray[np.intp]
    """`[frames]`: the tokens of the tsv"""
    rows: npt.NDArray[np.intp]
    """`[frames]`: which row each frame belongs to"""
    in_half: bool
    """Every value is a half-precision value."""


@dataclass(frozen=True, slots=True)
class ItemReading:
    """What came of one row's features."""

    row: int
    derived: int
    """Tokens that the features give."""
    problem: str = ""
    """Why the features cannot be used; empty when they can."""


class BatchReader:
    """Reads the features of rows and yields them in batches.

    `readings` tells, once all batches are taken, what came of each row.
    """

    def __init__(self, read: Callable[[str], Features], channels: int, taps: int) -> None:
        self.readings: list[ItemReading] = []
        self._read = read
        self._channels = channels
        self._taps = taps

    def batches(self, rows: list[TokenRow], on_row: Callable[[int], None] | None = None) -> Iterator[FrameBatch]:
        """Yield every frame of these rows that has both features and a recorded token; empty batches are left out."""
        patches = np.empty((FRAMES, self._taps * self._channels), np.float32)
        recorded, numbers = np.empty(FRAMES, np.intp), np.empty(FRAMES, np.intp)
        filled, in_half = 0, True
        for number, row in enumerate(rows):
            frames = self._frames(number, row.item)
            tokens = np.array(row.tokens, np.intp)
            done, count = 0, min(len(tokens), len(frames))
            item_in_half = count == 0 or is_half(frames)
            while done < count:
                step = min(count - done, FRAMES - filled)
                patches[filled : filled + step] = frames[done : done + step]
                recorded[filled : filled + step] = tokens[done : done + step]
                numbers[filled : filled + step] = number
                in_half = in_half and item_in_half
                done += step
                filled += step
                if filled == FRAMES:
                    yield FrameBatch(patches, recorded, numbers, in_half)
                    filled, in_half = 0, True
            if on_row:
                on_row(number + 1)
        if filled:
            yield FrameBatch(patches[:filled], recorded[:filled], numbers[:filled], in_half)

    def _frames(self, number: int, item: str) -> npt.NDArray[np.floating]:
        """Return `[tokens, taps * channels]` for a row; none where its features cannot be used."""
        found = self._read(item)
        values = found.values
        why = found.problem
        if values is not None and values.shape[1] != self._channels:
            why = f"has {values.shape[1]} channels where the VQ encoder takes {self._channels}"
        elif values is not None and not np.isfinite(values).all():
            why = "holds NaN or infinity"
        if values is None or why:
            self.readings.append(ItemReading(number, 0, why))
            return np.empty((0, self._taps * self._channels), np.float32)
        # Rows of `taps` frames one behind the other: no copy. An odd frame at the end gives no token.
        tokens = len(values) // self._taps
        self.readings.append(ItemReading(number, tokens))
        return values[: tokens * self._taps].reshape(tokens, self._taps * self._channels)
