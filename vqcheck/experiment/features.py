"""Reads speech features from the folder `4-cnhubert` of an experiment, one recording after the other."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.checkpoint.stored_tensor import ITEM_SIZE, StoredTensor
from vqcheck.codebook.tokenizer import Array, Features
from vqcheck.codebook.values import array_of
from vqcheck.errors import CheckpointError, UsageError

FOLDER = "4-cnhubert"
_SUFFIX = ".pt"


class FeatureFolder:
    """The `.pt` files of a folder, in the order of their names.

    Raises:
        UsageError: it cannot be listed, or holds no `.pt` file.

    """

    def __init__(self, path: str) -> None:
        inside = os.path.join(path, FOLDER)
        self.path = inside if os.path.isdir(inside) else path
        try:
            names = sorted(entry.name for entry in os.scandir(self.path) if entry.name.endswith(_SUFFIX))
        except OSError as error:
            raise UsageError(f"cannot be listed: {error.strerror}", self.path) from None
        if not names:
            raise UsageError(f"holds no features (no *{_SUFFIX} file); expected is a folder {FOLDER}", self.path)
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
                return Features(item, None, f"holds {len(file.tensors)} tensors where one is expected")
            tensor = next(iter(file.tensors.values()))
            if not _shape(tensor):
                return Features(item, None, f"is a {tensor.dtype} tensor {list(tensor.shape)}, not [1, channels, time]")
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
