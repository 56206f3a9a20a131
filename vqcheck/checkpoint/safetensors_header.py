"""The header of a safetensors file, read with distrust.

u64 little-endian  header length
JSON               {name: {dtype, shape, data_offsets: [begin, end]}, "__metadata__": {text: text}}
bytes              the tensors, offsets counted from here
"""

from dataclasses import replace
from math import prod
from typing import Any, Final

from vqcheck.checkpoint.file import PositionedFile
from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.checkpoint.source import Source
from vqcheck.checkpoint.stored_tensor import (
    ITEM_SIZE,
    SAFETENSORS,
    Extent,
    StoredTensor,
    contiguous_stride,
    unsupported,
)
from vqcheck.checkpoint.untrusted_text import parse_json
from vqcheck.language import tr

_HEADER: Final = tr("header")
_MAX_HEADER: Final = 16 << 20
_MAX_AXES: Final = 64
_LONGEST_DTYPE: Final = 20
_SPACE: Final = b" \t\r\n"


def recognises(source: Source) -> bool:
    """Say whether a file begins with a safetensors header."""
    return looks_like(source.head)


def open_source(source: Source) -> Checkpoint:
    """Return an open safetensors file; raises CheckpointError as `read_header`, or where torch would read it, too."""
    file = source.file
    if not file.path.endswith(".safetensors"):
        from vqcheck.checkpoint import not_a_checkpoint, torch_legacy

        if torch_legacy.has_magic(file) or not_a_checkpoint.tar_kind(source.head):
            raise file.error(tr("begins as a torch file and as a safetensors file; save it again as one"))
    tensors, metadata = read_header(file)
    if not source.is_shard:
        tensors = with_aliases(tensors, metadata)
    return Checkpoint([file], file.path, "safetensors", tensors, file.read_extent, root=dict(metadata))


def looks_like(head: bytes) -> bool:
    """Say whether the first bytes of a file begin a safetensors header, be its length right or wrong."""
    return head[6:8] == b"\0\0" and len(head) > 8 and head[8:].lstrip(_SPACE)[:1] in (b"{", b"")


def read_header(file: PositionedFile) -> tuple[dict[str, StoredTensor], dict[str, str]]:
    """Return (stored tensors by name, metadata) of a safetensors file.

    Raises:
        CheckpointError: a header that is damaged, oversized, or describes bytes outside the file.

    """
    length = int.from_bytes(file.read(0, 8, _HEADER), "little")
    if length > file.size - 8:
        raise file.error(tr("claims {length} bytes, more than the file has (truncated?)", length=length), _HEADER)
    if length > _MAX_HEADER:
        raise file.error(
            tr("{length} bytes, more than the {most} that are read", length=length, most=_MAX_HEADER),
            _HEADER,
        )
    header = parse_json(bytes(file.read(8, length, _HEADER)), file, _HEADER)
    metadata = header.pop("__metadata__", None)
    metadata = {} if metadata is None else metadata
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise file.error(tr("its metadata is not text"), _HEADER)
    tensors: dict[str, StoredTensor] = {}
    for name, entry in header.items():
        tensors[name] = _tensor(file, name, entry, 8 + length)
    _refuse_overlaps_and_gaps(file, tensors, 8 + length)
    return tensors, metadata


def with_aliases(tensors: dict[str, StoredTensor], metadata: dict[str, str]) -> dict[str, StoredTensor]:
    """Return the tensors together with those that the library removed because they are one with a stored one.

    Its `save_model` keeps the name that comes first and notes the others in the metadata; its `load_model` restores
    them where the model ties them, and its `load_file` does not. So a note is believed only of what codecs tie: one
    tensor in several layers.
    """
    return tensors | {
        alias: replace(tensors[kept], name=alias)
        for alias, kept in metadata.items()
        if kept in tensors and kept < alias and alias not in tensors and _differ_in_numbers(kept, alias)
    }


def _differ_in_numbers(a: str, b: str) -> bool:
    parts, others = a.split("."), b.split(".")
    return len(parts) == len(others) and all(
        x == y or ((x + y).isascii() and x.isdecimal() and y.isdecimal()) for x, y in zip(parts, others, strict=True)
    )


def _tensor(file: PositionedFile, name: str, entry: Any, data_start: int) -> StoredTensor:
    try:
        spelled, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    except (TypeError, KeyError, ValueError):
        raise file.error(tr("its header entry is damaged"), name) from None
    if (
        not isinstance(spelled, str)
        or not 0 < len(spelled) <= _LONGEST_DTYPE
        or len(shape) > _MAX_AXES
        or not all(type(n) is int and 0 <= n < 1 << 62 for n in (*shape, begin, end))
    ):
        raise file.error(tr("its header entry is damaged"), name)
    dtype = SAFETENSORS.get(spelled, "")
    if begin > end or data_start + end > file.size:
        raise file.error(tr("lies outside the file (truncated?)"), name)
    width = ITEM_SIZE.get(dtype)
    if width is not None and prod(shape) * width != end - begin:
        raise file.error(tr("its shape and its {bytes} bytes disagree", bytes=end - begin), name)
    extent = Extent(name, data_start + begin, end - begin)
    problem = "" if dtype else unsupported(spelled)
    return StoredTensor(name, dtype or spelled, shape, contiguous_stride(shape), 0, extent, problem)


def _refuse_overlaps_and_gaps(file: PositionedFile, tensors: dict[str, StoredTensor], data_start: int) -> None:
    """Accept only what the safetensors library accepts: every byte behind the header belongs to one tensor."""
    end = data_start
    for extent in sorted((tensor.extent for tensor in tensors.values()), key=lambda each: (each.start, each.size)):
        if extent.start < end:
            raise file.error(tr("overlaps another tensor"), extent.member)
        if extent.start > end:
            raise file.error(tr("does not begin where the tensor before it ends"), extent.member)
        end += extent.size
    if end != file.size:
        raise file.error(tr("{bytes} bytes at its end belong to no tensor", bytes=file.size - end))
