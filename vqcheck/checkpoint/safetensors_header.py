"""The header of a safetensors file, read with distrust.

u64 little-endian  header length
JSON               {name: {dtype, shape, data_offsets: [begin, end]}, "__metadata__": {text: text}}
bytes              the tensors, offsets counted from here
"""

from math import prod
from typing import Any, Final

from vqcheck.checkpoint.dtypes import ITEM_SIZE, SAFETENSORS
from vqcheck.checkpoint.file import PositionedFile
from vqcheck.checkpoint.strict_json import parse_json
from vqcheck.checkpoint.tensor import Extent, StoredTensor, contiguous_stride
from vqcheck.errors import CheckpointError

_MAX_HEADER: Final = 32 << 20


def looks_like(head: bytes, size: int) -> bool:
    """Say whether the first bytes of a file of `size` bytes begin a safetensors header."""
    return len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size - 8


def read_header(file: PositionedFile) -> tuple[dict[str, StoredTensor], dict[str, str]]:
    """Return (tensors by name, metadata) of a safetensors file; names that were removed as aliases are restored.

    Raises:
        CheckpointError: a header that is damaged, oversized, or describes bytes outside the file.

    """
    length = int.from_bytes(file.read(0, 8, "header"), "little")
    if length > _MAX_HEADER:
        raise CheckpointError(f"{file.path}: header: {length} bytes, more than the {_MAX_HEADER} that are read")
    header = parse_json(bytes(file.read(8, length, "header")), f"{file.path}: header")
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise CheckpointError(f"{file.path}: header: its metadata is not text")
    tensors: dict[str, StoredTensor] = {}
    for name, entry in header.items():
        tensors[name] = _tensor(file, name, entry, 8 + length)
    _refuse_overlaps(file, tensors)
    for alias, kept in metadata.items():
        # The library stores a tied tensor once and names the others here.
        if kept in tensors and alias not in tensors:
            tensors[alias] = _renamed(tensors[kept], alias)
    return tensors, metadata


def _tensor(file: PositionedFile, name: str, entry: Any, data_start: int) -> StoredTensor:
    try:
        spelled, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    except (TypeError, KeyError, ValueError):
        raise CheckpointError(f"{file.path}: {name:.200}: its header entry is damaged") from None
    if not isinstance(spelled, str) or not all(type(n) is int and n >= 0 for n in (*shape, begin, end)):
        raise CheckpointError(f"{file.path}: {name:.200}: its header entry is damaged")
    dtype = SAFETENSORS.get(spelled, spelled)
    if begin > end or data_start + end > file.size:
        raise CheckpointError(f"{file.path}: {name:.200}: lies outside the file (truncated?)")
    width = ITEM_SIZE.get(dtype)
    if width is not None and prod(shape) * width != end - begin:
        raise CheckpointError(f"{file.path}: {name:.200}: its shape and its {end - begin} bytes disagree")
    extent = Extent(name, data_start + begin, end - begin)
    return StoredTensor(name, dtype, shape, contiguous_stride(shape), 0, extent)


def _renamed(tensor: StoredTensor, name: str) -> StoredTensor:
    return StoredTensor(name, tensor.dtype, tensor.shape, tensor.stride, tensor.offset, tensor.extent)


def _refuse_overlaps(file: PositionedFile, tensors: dict[str, StoredTensor]) -> None:
    end = 0
    for extent in sorted((tensor.extent for tensor in tensors.values()), key=lambda extent: extent.start):
        if extent.size and extent.start < end:
            raise CheckpointError(f"{file.path}: {extent.member:.200}: overlaps another tensor")
        end = max(end, extent.start + extent.size)
