"""The header of a safetensors file, read with distrust.

u64 little-endian  header length
JSON               {name: {dtype, shape, data_offsets: [begin, end]}, "__metadata__": {text: text}}
bytes              the tensors, offsets counted from here
"""

from dataclasses import replace
from math import prod
from typing import Any, Final

from vqcheck.checkpoint.dtypes import ITEM_SIZE, SAFETENSORS
from vqcheck.checkpoint.file import PositionedFile
from vqcheck.checkpoint.shown import shown
from vqcheck.checkpoint.strict_json import parse_json
from vqcheck.checkpoint.tensor import Extent, StoredTensor, contiguous_stride
from vqcheck.errors import CheckpointError

_MAX_HEADER: Final = 16 << 20
_MAX_AXES: Final = 64
_LONGEST_DTYPE: Final = 20


def looks_like(head: bytes) -> bool:
    """Say whether the first bytes of a file begin a safetensors header, be its length right or wrong."""
    return head[8:9] == b"{" and head[6:8] == b"\0\0"


def read_header(file: PositionedFile) -> tuple[dict[str, StoredTensor], dict[str, str]]:
    """Return (tensors by name, metadata) of a safetensors file; names that were removed as aliases are restored.

    Raises:
        CheckpointError: a header that is damaged, oversized, or describes bytes outside the file.

    """
    length = int.from_bytes(file.read(0, 8, "header"), "little")
    if length > file.size - 8:
        raise CheckpointError(f"{file.label}: header: claims {length} bytes, more than the file has (truncated?)")
    if length > _MAX_HEADER:
        raise CheckpointError(f"{file.label}: header: {length} bytes, more than the {_MAX_HEADER} that are read")
    header = parse_json(bytes(file.read(8, length, "header")), f"{file.label}: header")
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise CheckpointError(f"{file.label}: header: its metadata is not text")
    tensors: dict[str, StoredTensor] = {}
    for name, entry in header.items():
        tensors[name] = _tensor(file, name, entry, 8 + length)
    _refuse_overlaps_and_gaps(file, tensors, 8 + length)
    for alias, kept in metadata.items():
        # The library stores a tied tensor once and names the others here.
        if kept in tensors and alias not in tensors:
            tensors[alias] = replace(tensors[kept], name=alias)
    return tensors, metadata


def _tensor(file: PositionedFile, name: str, entry: Any, data_start: int) -> StoredTensor:
    try:
        spelled, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    except (TypeError, KeyError, ValueError):
        raise CheckpointError(f"{file.label}: {shown(name)}: its header entry is damaged") from None
    if (
        not isinstance(spelled, str)
        or not 0 < len(spelled) <= _LONGEST_DTYPE
        or len(shape) > _MAX_AXES
        or not all(type(n) is int and 0 <= n < 1 << 62 for n in (*shape, begin, end))
    ):
        raise CheckpointError(f"{file.label}: {shown(name)}: its header entry is damaged")
    dtype = SAFETENSORS.get(spelled, "")
    if begin > end or data_start + end > file.size:
        raise CheckpointError(f"{file.label}: {shown(name)}: lies outside the file (truncated?)")
    width = ITEM_SIZE.get(dtype)
    if width is not None and prod(shape) * width != end - begin:
        raise CheckpointError(f"{file.label}: {shown(name)}: its shape and its {end - begin} bytes disagree")
    extent = Extent(name, data_start + begin, end - begin)
    problem = "" if dtype else f"element type {shown(spelled)} is not supported"
    return StoredTensor(name, dtype or spelled, shape, contiguous_stride(shape), 0, extent, problem)


def _refuse_overlaps_and_gaps(file: PositionedFile, tensors: dict[str, StoredTensor], data_start: int) -> None:
    """Accept only what the safetensors library accepts: every byte behind the header belongs to one tensor."""
    end = data_start
    for extent in sorted((tensor.extent for tensor in tensors.values()), key=lambda extent: extent.start):
        if extent.size and extent.start < end:
            raise CheckpointError(f"{file.label}: {shown(extent.member)}: overlaps another tensor")
        if extent.start > end:
            raise CheckpointError(
                f"{file.label}: {shown(extent.member)}: does not begin where the tensor before it ends"
            )
        end = max(end, extent.start + extent.size)
    if end != file.size:
        raise CheckpointError(f"{file.label}: {file.size - end} bytes at its end belong to no tensor")
