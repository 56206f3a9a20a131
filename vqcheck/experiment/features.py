"""Reads speech features from the folder `4-cnhubert` of an experiment, one recording after the other or in batches."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.checkpoint.stored_tensor import ITEM_SIZE, StoredTensor
from vqcheck.codebook.half_lookup import is_half
from vqcheck.codebook.tokenizer import Features
from vqcheck.codebook.values import Array, array_of
from vqcheck.errors import CheckpointError, UsageError
from vqcheck.experiment.name2semantic import TokenRow
from vqcheck.language import tr

FOLDER = "4-cnhubert"
_SUFFIX = ".pt"
FRAMES: Final = 1024
"""Token frames of a batch: enough for the processor's peak, and its distances still fit a cache."""


class FeatureFolder:
    """The `.pt` files of a folder, in the order of their names.

    Raises:
        UsageError: it cannot be listed, or holds no `.pt` file.

    """

    def __init__(self, path: str) -> None:
        self.experiment = path
        inside = os.path.join(path, FOLDER)
        self.path = inside if os.path.isdir(inside) else path
        try:
            names = sorted(entry.name for entry in os.scandir(self.path) if entry.name.endswith(_SUFFIX))
        except OSError as error:
            raise UsageError(tr("cannot be listed: {reason}", reason=error.strerror), self.path) from None
        if not names:
            raise UsageError(
                tr(
                    "holds no features (no *{suffix} file); expected is a folder {folder}",
                    suffix=_SUFFIX,
                    folder=FOLDER,
                ),
                self.path,
            )
        self._names = names

    @property
    def items(self) -> tuple[str, ...]:
        """Names of the recordings, in order."""
        return tuple(name.removesuffix(_SUFFIX) for name in self._names)

    def read_frames(self, item: str) -> Features:
        """Return the features of one recording as `read_frames` does."""
        return read_frames(os.path.join(self.path, item + _SUFFIX))

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[Features]:
        for name in self._names:
            yield read_features(os.path.join(self.path, name))


def read_features(path: str) -> Features:
    """Return the features in one file: a tensor `[1, channels, time]` of any floating-point type and memory layout."""
    return _read(path, _values)


def read_frames(path: str) -> Features:
    """Return the features in one file frame by frame, as values `[time, channels]`, in float16 where stored so.

    Upstream saves them transposed, so that this is the order in which they lie in the file.
    """
    return _read(path, _frames)


def _read(path: str, values: Callable[[Checkpoint, StoredTensor], Array]) -> Features:
    item = os.path.basename(path).removesuffix(_SUFFIX)
    try:
        with open_checkpoint(path) as file:
            if len(file.tensors) != 1:
                return Features(
                    item, None, tr("holds {number} tensors where one is expected", number=len(file.tensors))
                )
            tensor = next(iter(file.tensors.values()))
            if not _shape(tensor):
                why = tr(
                    "is a {dtype} tensor {shape}, not [1, channels, time]", dtype=tensor.dtype, shape=[*tensor.shape]
                )
                return Features(item, None, why)
            return Features(item, values(file, tensor))
    except CheckpointError as error:
        return Features(item, None, error.what)


def _values(file: Checkpoint, tensor: StoredTensor) -> Array:
    return array_of(tensor.dtype, _shape(tensor), file.read(tensor))


def _frames(file: Checkpoint, tensor: StoredTensor) -> Array:
    turned = replace(
        tensor, shape=tensor.shape[:-2] + tensor.shape[:-3:-1], stride=tensor.stride[:-2] + tensor.stride[:-3:-1]
    )
    if tensor.dtype == "float16":
        return np.frombuffer(file.read(turned), "<f2").reshape(_shape(turned))
    return _values(file, turned)


def _shape(tensor: StoredTensor) -> tuple[int, ...]:
    """Return `[channels, time]`; nothing for a tensor that holds no features."""
    shape = tensor.shape[1:] if len(tensor.shape) == 3 and tensor.shape[0] == 1 else tensor.shape
    is_float = tensor.dtype in ITEM_SIZE and tensor.dtype.startswith(("float", "bfloat"))
    return shape if len(shape) == 2 and is_float else ()


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

    `readings` holds, once all batches are taken, what came of each row.
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
            frames = self.frames_of(number, row.item)
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

    def frames_of(self, number: int, item: str) -> npt.NDArray[np.floating]:
        """Return `[tokens, taps * channels]` for a row; none where its features cannot be used."""
        found = self._read(item)
        values = found.values
        why = found.problem
        if values is not None and values.shape[1] != self._channels:
            why = tr(
                "has {found} channels where the VQ encoder takes {wanted}",
                found=values.shape[1],
                wanted=self._channels,
            )
        elif values is not None and not np.isfinite(values).all():
            why = tr("holds NaN or infinity")
        if values is None or why:
            self.readings.append(ItemReading(number, 0, why))
            return np.empty((0, self._taps * self._channels), np.float32)
        # Rows of `taps` frames one behind the other: no copy. An odd frame at the end gives no token.
        tokens = len(values) // self._taps
        self.readings.append(ItemReading(number, tokens))
        return values[: tokens * self._taps].reshape(tokens, self._taps * self._channels)
