r"""numpy's element types, and the header of its files, which is read as numpy writes it and in no other spelling.

\x93NUMPY  major and minor version, length of the header (u16, from version 2 on u32), then the header:
{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Final

from vqcheck.checkpoint.stored_tensor import ITEM_SIZE, Extent, StoredTensor, contiguous_stride
from vqcheck.errors import CheckpointError
from vqcheck.language import tr
from vqcheck.sanitize import sanitize_name

MAGIC: Final = b"\x93NUMPY"
OBJECTS: Final = "|O"
_LONGEST: Final = 10_000
"""Bytes of a header that numpy reads of its own accord."""
_MAX_AXES: Final = 64

DTYPES: Final = {
    "f8": "float64",
    "f4": "float32",
    "f2": "float16",
    "i8": "int64",
    "i4": "int32",
    "i2": "int16",
    "i1": "int8",
    "u8": "uint64",
    "u4": "uint32",
    "u2": "uint16",
    "u1": "uint8",
    "b1": "bool",
}
"""Kind and width in bytes -> element type."""

_HEADER: Final = re.compile(
    rb"\{'descr': ('[^'\\]{1,40}'|\[.*\]), 'fortran_order': (True|False), 'shape': \(([0-9, ]*)\),? ?\} *\n?"
)
_SHAPE: Final = re.compile(r"(?:(?:0|[1-9][0-9]{0,18})(?:,|(?:, ?(?:0|[1-9][0-9]{0,18}))+,?))?")

Read = Callable[[int, int], bytes | bytearray]
"""(start, size) -> bytes."""


@dataclass(frozen=True, slots=True)
class ArrayHeader:
    """What a numpy file says of its array."""

    descr: str
    shape: tuple[int, ...]
    in_columns: bool
    """Fortran order: the first axis runs fastest."""
    start: int
    """Position of the first element."""


def read_header(read: Read, size: int, error: Callable[[str], CheckpointError]) -> ArrayHeader:
    """Return the header of a numpy file of `size` bytes.

    Raises:
        CheckpointError: it is not written as numpy writes it.

    """
    head = bytes(read(0, min(size, 12)))
    if len(head) < 12 or head[:6] != MAGIC or head[6:8] not in (b"\1\0", b"\2\0", b"\3\0"):
        raise error(tr("is no array of numpy, or of a version that is not known"))
    begin = 10 if head[6] == 1 else 12
    length = int.from_bytes(head[8:begin], "little")
    if length > _LONGEST or begin + length > size:
        raise error(tr("its header is cut off, or too long"))
    written = _HEADER.fullmatch(bytes(read(begin, length)))
    shape = written[3].decode() if written else ""
    if written is None or not _SHAPE.fullmatch(shape):
        raise error(tr("its header is not written as numpy writes it"))
    axes = tuple(int(each) for each in shape.replace(" ", "").split(",") if each)
    if len(axes) > _MAX_AXES:
        raise error(tr("has more axes than numpy allows"))
    descr = written[1].decode("latin-1")
    return ArrayHeader(descr.strip("'"), axes, written[2] == b"True", begin + length)


def dtype_of(descr: str) -> str:
    """Return the element type that numpy spells so; empty for one that is not read."""
    # Of one byte no order is told, and of more it must be little-endian.
    order, kind = descr[:1], descr[1:]
    return DTYPES.get(kind, "") if order == ("|" if kind.endswith("1") else "<") else ""


@lru_cache(maxsize=64)
def problem_of(descr: str) -> str:
    """Return why elements that numpy spells so are not read."""
    if descr.startswith(">"):
        return tr("is stored big-endian, which vqcheck does not read")
    if descr.startswith("["):
        return tr("is an array of records, which vqcheck does not read")
    if descr == OBJECTS:
        return tr("is an array of Python objects, which vqcheck does not read")
    kind = sanitize_name(descr)
    if descr.startswith("|V"):
        return tr(
            "has the element type {kind} (such as bfloat16, which numpy does not know), which vqcheck does not read",
            kind=kind,
        )
    return tr("has the element type {kind}, which vqcheck does not read", kind=kind)


def stride_of(shape: tuple[int, ...], *, in_columns: bool) -> tuple[int, ...]:
    """Return the step of each axis, in elements."""
    return contiguous_stride(shape[::-1])[::-1] if in_columns else contiguous_stride(shape)


def stored_array(
    name: str,
    member: str,
    header: ArrayHeader,
    size: int,
    error: Callable[[str], CheckpointError],
    *,
    packed: bool = False,
) -> StoredTensor:
    """Return the array of a numpy file of `size` bytes as a tensor.

    Raises:
        CheckpointError: it has not as many bytes as the header says.

    """
    dtype = dtype_of(header.descr)
    room = size - header.start
    if dtype and prod(header.shape) * ITEM_SIZE[dtype] != room:
        raise error(tr("its shape and its {bytes} bytes disagree", bytes=room))
    stride = stride_of(header.shape, in_columns=header.in_columns)
    extent = Extent(member, header.start, room, packed)
    return StoredTensor(
        name,
        dtype or header.descr,
        header.shape,
        stride,
        0,
        extent,
        "" if dtype else problem_of(header.descr),
    )
