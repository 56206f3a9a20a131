"""What is known of a tensor before its bytes are read: its name, type, shape and place."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Extent:
    """A run of bytes inside a checkpoint file: one zip member, one legacy storage or one safetensors entry."""

    member: str
    """Its name, for errors."""
    start: int
    """Position of the first (possibly packed) byte; for a zip member, of its local header."""
    size: int
    """Bytes once unpacked."""
    packed: bool = False
    """Whether it is stored compressed, so that it can only be read from its beginning."""
    shard: str = ""
    """Base name of the shard that holds it; empty for the opened file itself."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One named tensor of a checkpoint, not yet read.

    Sizes are what the file claims; they are checked against the extent before a byte is read.
    """

    name: str
    dtype: str
    """Element type in torch's spelling without the prefix, such as `float16`."""
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    """Step of each axis, in elements."""
    offset: int
    """First element's position in the extent, in bytes."""
    extent: Extent
    problem: str = ""
    """Why its values cannot be read (quantised, sparse, ...); empty when they can."""


def contiguous_stride(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the C-order strides, in elements, of a dense tensor of this shape."""
    stride: list[int] = []
    step = 1
    for length in reversed(shape):
        stride.append(step)
        step *= max(length, 1)
    return tuple(reversed(stride))
