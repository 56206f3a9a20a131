"""Copies a checkpoint byte for byte, with other values in some of its tensors.

The index is neither executed nor written again: the stored bytes are replaced where they lie, and in a zip archive the
checksums of the members that hold them. So whatever loaded the file loads the copy in the same way.
"""

import re
import zlib
from collections.abc import Iterable, Mapping
from math import prod
from typing import BinaryIO, Final

from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.checkpoint.stored_tensor import ITEM_SIZE, Extent, StoredTensor
from vqcheck.checkpoint.strides import is_dense
from vqcheck.checkpoint.zip_archive import ZipArchive
from vqcheck.errors import CheckpointError
from vqcheck.language import tr
from vqcheck.sanitize import sanitize_name

_CHUNK: Final = 8 << 20
_REWRITTEN: Final = ("torch zip", "torch legacy", "safetensors")

Edits = Mapping[int, bytes]
"""Position in the file -> the bytes that stand there in the copy."""


def edits_for(checkpoint: Checkpoint, values: Mapping[StoredTensor, bytes]) -> dict[int, bytes]:
    """Return what differs between a file and its copy in which some tensors have other values.

    `values` are in C order, little-endian, in each tensor's stored element type.

    Raises:
        CheckpointError: the file consists of several, a tensor is stored compressed, or shares its bytes with one that
            is to stay.

    """
    file = checkpoint.files[0]
    if checkpoint.format not in _REWRITTEN:
        raise file.error(
            tr(
                "is a checkpoint of the kind '{format}'; a VQ encoder can be put back into a single "
                "torch or safetensors file only",
                format=checkpoint.format,
            )
        )
    if file.is_remote:
        raise file.error(tr("is remote, and the copy takes all of its bytes; --download reads it whole first"))
    packed = next((tensor for tensor in values if tensor.extent.packed), None)
    if packed is not None:
        raise file.error(tr("is stored compressed; save the file again without compression"), packed.name)
    _require_apart(checkpoint, values)
    archive = ZipArchive(file) if checkpoint.format == "torch zip" else None
    edits: dict[int, bytes] = {}
    for tensor, data in values.items():
        start = archive.data_start(tensor.extent.member) if archive else tensor.extent.start
        edits[start + tensor.offset] = _spread(checkpoint, tensor, data)
    if archive:
        for extent in dict.fromkeys(tensor.extent for tensor in values):
            before, after = (_checksum(checkpoint, archive, extent, each) for each in ({}, edits))
            edits |= dict.fromkeys(archive.checksum_places(extent.member, before), after.to_bytes(4, "little"))
    return edits


def write_copy(checkpoint: Checkpoint, edits: Edits, stream: BinaryIO) -> None:
    """Write a file with its edits to a stream.

    Raises:
        CheckpointError: the file cannot be read.
        OSError: the stream cannot be written.

    """
    file = checkpoint.files[0]
    ordered = sorted(edits.items())
    for start in range(0, file.size, _CHUNK):
        chunk = file.read(start, min(_CHUNK, file.size - start), "copy")
        _apply(chunk, start, ordered)
        stream.write(chunk)


def differs_elsewhere(checkpoint: Checkpoint, copy: Checkpoint, edits: Edits) -> bool:
    """Say whether a copy differs from its file in a byte that no edit is about, or not as the edits say."""
    file, other = checkpoint.files[0], copy.files[0]
    if file.size != other.size:
        return True
    ordered = sorted(edits.items())
    for start in range(0, file.size, _CHUNK):
        size = min(_CHUNK, file.size - start)
        expected = file.read(start, size, "copy")
        _apply(expected, start, ordered)
        if expected != other.read(start, size, "copy"):
            return True
    return False


def _apply(chunk: bytearray, start: int, edits: Iterable[tuple[int, bytes]]) -> None:
    """Put what of the edits lies in a chunk of the file, which begins at `start`, into it."""
    end = start + len(chunk)
    for position, data in edits:
        first, last = max(position, start), min(position + len(data), end)
        if first < last:
            chunk[first - start : last - start] = data[first - position : last - position]


def _require_apart(checkpoint: Checkpoint, values: Mapping[StoredTensor, bytes]) -> None:
    """Raise CheckpointError where something that is to stay has bytes in common with a tensor that is to change."""
    changed = [(*_place(tensor), tensor) for tensor in values]
    first, last = min(start for start, *_ in changed), max(end for _, end, _ in changed)
    named = [other for state_dict in checkpoint.state_dicts for other in state_dict.tensors.values()]
    for other in (*named, *checkpoint.elsewhere()):
        begin, end = _place(other)
        if end <= first or last <= begin:
            continue
        for start, stop, tensor in changed:
            if begin < stop and start < end and not _is_alias(tensor, other):
                what = sanitize_name(other.name) if other in named else tr("another part of the file")
                raise CheckpointError(
                    tr("shares its bytes with {what}, which is not part of the VQ encoder", what=what),
                    checkpoint.path,
                    tensor.name,
                )


def _place(tensor: StoredTensor) -> tuple[int, int]:
    """Return a tensor's first byte and the one behind its last, counted from where its file's extents are counted."""
    start = tensor.extent.start
    first, last = (0, tensor.extent.size) if tensor.problem else _span(tensor)
    return start + first, start + last


def _is_alias(tensor: StoredTensor, other: StoredTensor) -> bool:
    """Say whether a tensor is another under its own name, or that of another layer, as codecs share one.

    The axes may be in another order: the VQ encoder's tensors are read in a canonical one.
    """
    a, b = (
        (each.extent.start + each.offset, each.dtype, sorted(zip(each.shape, each.stride, strict=True)))
        for each in (tensor, other)
    )
    return a == b and re.sub(r"\d+", "0", tensor.name) == re.sub(r"\d+", "0", other.name)


def _span(tensor: StoredTensor) -> tuple[int, int]:
    """Return the first byte of a tensor in its extent, and the one behind its last."""
    width = ITEM_SIZE.get(tensor.dtype, 1)
    if not prod(tensor.shape):
        return tensor.offset, tensor.offset
    reach = sum((length - 1) * step for length, step in zip(tensor.shape, tensor.stride, strict=True))
    return tensor.offset, tensor.offset + (reach + 1) * width


def _spread(checkpoint: Checkpoint, tensor: StoredTensor, data: bytes) -> bytes:
    """Return the bytes between a tensor's first and last element with its new values, whatever its strides are."""
    if is_dense(tensor):
        return data
    import numpy as np

    first, last = _span(tensor)
    width = ITEM_SIZE[tensor.dtype]
    stored = np.frombuffer(checkpoint.read_extent(tensor.extent, first, last - first), dtype=f"V{width}").copy()
    strides = tuple(step * width for step in tensor.stride)
    view = np.lib.stride_tricks.as_strided(stored, tensor.shape, strides)
    view[...] = np.frombuffer(data, dtype=f"V{width}").reshape(tensor.shape)
    return stored.tobytes()


def _checksum(checkpoint: Checkpoint, archive: ZipArchive, extent: Extent, edits: Edits) -> int:
    """Return the CRC-32 of a member as it will be."""
    start = archive.data_start(extent.member)
    ordered = sorted(edits.items())
    checksum = 0
    for at in range(0, extent.size, _CHUNK):
        chunk = bytearray(checkpoint.read_extent(extent, at, min(_CHUNK, extent.size - at)))
        _apply(chunk, start + at, ordered)
        checksum = zlib.crc32(chunk, checksum)
    return checksum
