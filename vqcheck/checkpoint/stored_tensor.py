"""What is known of a tensor before its bytes are read: its name, element type, shape and place in the file."""

from functools import lru_cache
from types import MappingProxyType
from typing import Final

from vqcheck.language import tr
from vqcheck.quick_dataclass import quick_dataclass
from vqcheck.sanitize import sanitize_name


@quick_dataclass(frozen=True, slots=True)
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


@quick_dataclass(frozen=True, slots=True)
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


ITEM_SIZE: Final = MappingProxyType(
    {
        "float64": 8,
        "float32": 4,
        "float16": 2,
        "bfloat16": 2,
        "float8_e4m3fn": 1,
        "float8_e5m2": 1,
        "float8_e4m3fnuz": 1,
        "float8_e5m2fnuz": 1,
        "float8_e8m0fnu": 1,
        "int64": 8,
        "int32": 4,
        "int16": 2,
        "int8": 1,
        "uint64": 8,
        "uint32": 4,
        "uint16": 2,
        "uint8": 1,
        "bool": 1,
    }
)
"""Bytes per element of every element type that is read; all are little-endian."""

REFUSED_ITEM_SIZE: Final = MappingProxyType(
    {"complex64": 8, "complex128": 16, "qint8": 1, "quint8": 1, "qint32": 4, "quint4x2": 1, "quint2x4": 1}
)
"""Bytes per stored element of the types that are refused; needed to step over them in a legacy file."""

TORCH_STORAGE: Final = MappingProxyType(
    {
        "DoubleStorage": "float64",
        "FloatStorage": "float32",
        "HalfStorage": "float16",
        "BFloat16Storage": "bfloat16",
        "Float8_e4m3fnStorage": "float8_e4m3fn",
        "Float8_e5m2Storage": "float8_e5m2",
        "LongStorage": "int64",
        "IntStorage": "int32",
        "ShortStorage": "int16",
        "CharStorage": "int8",
        "ByteStorage": "uint8",
        "BoolStorage": "bool",
        # Untyped bytes: the tensor record carries the element type itself.
        "UntypedStorage": "uint8",
        # Named so that the refusal can say what it refuses.
        "ComplexFloatStorage": "complex64",
        "ComplexDoubleStorage": "complex128",
        "QInt8Storage": "qint8",
        "QUInt8Storage": "quint8",
        "QInt32Storage": "qint32",
        "QUInt4x2Storage": "quint4x2",
        "QUInt2x4Storage": "quint2x4",
    }
)
"""Class name of a typed torch storage -> element type."""

SAFETENSORS: Final = MappingProxyType(
    {
        "F64": "float64",
        "F32": "float32",
        "F16": "float16",
        "BF16": "bfloat16",
        "F8_E4M3": "float8_e4m3fn",
        "F8_E5M2": "float8_e5m2",
        "F8_E4M3FNUZ": "float8_e4m3fnuz",
        "F8_E5M2FNUZ": "float8_e5m2fnuz",
        "F8_E8M0": "float8_e8m0fnu",
        "I64": "int64",
        "I32": "int32",
        "I16": "int16",
        "I8": "int8",
        "U64": "uint64",
        "U32": "uint32",
        "U16": "uint16",
        "U8": "uint8",
        "BOOL": "bool",
        "C64": "complex64",
    }
)
"""Element type as a safetensors header spells it -> element type."""


@lru_cache(maxsize=64)
def unsupported(dtype: str) -> str:
    """Return what is wrong with a tensor of an element type that is not read."""
    return tr("element type {dtype} is not supported", dtype=sanitize_name(dtype))


@lru_cache(maxsize=64)
def missing_part(file: str) -> str:
    """Return what is wrong with a tensor whose file is not there; of one file there may be a hundred thousand."""
    return tr("lies in {file}, which is missing", file=sanitize_name(file))
