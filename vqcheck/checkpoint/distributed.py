"""A distributed checkpoint of torch, as FSDP and DTensor write it: a folder with `.metadata` and the ranks' files.

Each chunk of a tensor is a torch zip archive of its own, somewhere in one of those files. They are opened when a tensor
that lies in them is read.
"""

import os
from math import prod
from typing import Final

from vqcheck.checkpoint import pickle_machine
from vqcheck.checkpoint.distributed_metadata import Chunk, DistributedTensor, Metadata, read_metadata
from vqcheck.checkpoint.file import FilePart, PositionedFile
from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.checkpoint.pickle_values import PickleError
from vqcheck.checkpoint.saved_object import checkpoint_of
from vqcheck.checkpoint.source import Source
from vqcheck.checkpoint.stored_tensor import ITEM_SIZE, Extent, contiguous_stride, missing_part
from vqcheck.checkpoint.torch_records import StorageRecord, TensorRecord
from vqcheck.language import tr
from vqcheck.sanitize import sanitize_name

_MARK: Final = b"torch.distributed.checkpoint.metadata"
_MAX_FILES: Final = 10_000
_MOST_AROUND: Final = 16 << 10
"""Bytes that a chunk's archive may have beside the chunk itself; torch writes about one KiB."""


def recognises(source: Source) -> bool:
    """Say whether a file is the index of a distributed checkpoint."""
    return source.head[:1] == b"\x80" and _MARK in source.head[:100]


def open_source(source: Source) -> Checkpoint:
    """Return an open distributed checkpoint, given its index.

    Raises:
        CheckpointError: the index cannot be read, or refers to files outside its folder.

    """
    index = source.file
    if index.siblings:
        raise index.error(
            "is the index of a distributed checkpoint; these are read on this machine, so download its whole folder"
        )
    if index.size > pickle_machine.MAX_BYTES:
        raise index.error(
            tr(
                "{size} bytes, more than the {most} that are read",
                size=index.size,
                most=pickle_machine.MAX_BYTES,
            )
        )
    try:
        metadata = read_metadata(index.read(0, index.size, "index"))
        files = _Files(index, metadata)
        root = _root(metadata, files.missing)
    except PickleError as error:
        raise index.error(tr("the pickle {error}", error=str(error))) from None
    extents = {
        name: Extent(name, 0, prod(tensor.shape) * ITEM_SIZE.get(tensor.dtype, 0))
        for name, tensor in metadata.tensors.items()
    }
    return checkpoint_of(
        index,
        "distributed",
        root,
        extents,
        files.read,
        path=os.path.dirname(index.path) or os.curdir,
        files=files.opened,
        stored_bytes=files.size,
        missing_files=files.missing,
    )


def _root(metadata: Metadata, missing: tuple[str, ...]) -> dict[object, object]:
    """Return the object that was saved, with records for tensors and None for what is no tensor."""
    root: dict[object, object] = {}
    leaves: set[tuple[str | int, ...]] = set()
    for name, keys in metadata.keys.items():
        tensor = metadata.tensors.get(name)
        inside = root
        for depth, key in enumerate(keys[:-1], start=1):
            if keys[:depth] in leaves:
                raise PickleError(tr("has {name} inside of something that holds nothing", name=sanitize_name(name)))
            inside = inside.setdefault(key, {})  # type: ignore[assignment]
        if keys[-1] in inside:
            raise PickleError(tr("has two things where {name} belongs", name=sanitize_name(name)))
        leaves.add(keys)
        inside[keys[-1]] = _record(name, tensor, missing) if tensor else None
    return root


def _record(name: str, tensor: DistributedTensor, missing: tuple[str, ...]) -> TensorRecord:
    absent = next((chunk.file for chunk in tensor.chunks if chunk.file in missing), "")
    problem = tensor.problem or (missing_part(absent) if absent else "")
    storage = StorageRecord(tensor.dtype, name, prod(tensor.shape))
    return TensorRecord(tensor.dtype, storage, 0, tensor.shape, contiguous_stride(tensor.shape), problem)


def _size(path: str) -> int | None:
    """Return how many bytes a file has; None where there is none."""
    try:
        return os.stat(path).st_size
    except OSError:
        return None


class _Files:
    """The files of a distributed checkpoint, opened when they are needed, and the tensors put together from them."""

    def __init__(self, index: PositionedFile, metadata: Metadata) -> None:
        from vqcheck.checkpoint.shard_index import shard_path

        self.opened = [index]
        self._tensors = metadata.tensors
        self._by_name: dict[str, PositionedFile] = {}
        names = dict.fromkeys(chunk.file for tensor in metadata.tensors.values() for chunk in tensor.chunks)
        if len(names) > _MAX_FILES:
            raise index.error(
                tr(
                    "refers to {names} files, more than the {most} that are opened",
                    names=len(names),
                    most=_MAX_FILES,
                )
            )
        self._paths = {name: shard_path(index, name) for name in names}
        found = {name: _size(path) for name, path in self._paths.items()}
        self.missing = tuple(name for name, size in found.items() if size is None)
        self.size = index.size + sum(filter(None, found.values()))
        self._last: tuple[str, bytes | bytearray] = ("", b"")

    def read(self, extent: Extent, start: int, size: int) -> bytes | bytearray:
        """Return bytes of a tensor, of which the last one that was asked for is kept."""
        name = extent.member
        if self._last[0] != name:
            self._last = name, self._put_together(name, self._tensors[name])
        return self._last[1][start : start + size]

    def _put_together(self, name: str, tensor: DistributedTensor) -> bytes | bytearray:
        """Return a tensor's elements, C order; its chunks have as many of them as it has."""
        chunks = sorted(tensor.chunks, key=lambda chunk: chunk.offsets)
        rest = tensor.shape[1:]
        begins = [chunk.offsets[0] for chunk in chunks] if tensor.shape else [0]
        ends = [chunk.offsets[0] + chunk.sizes[0] for chunk in chunks] if tensor.shape else [0]
        if all(chunk.sizes[1:] == rest for chunk in chunks) and begins == [0, *ends[:-1]]:
            # Rows one after the other.
            return b"".join(self._chunk(name, tensor.dtype, chunk) for chunk in chunks)
        import numpy as np

        width = ITEM_SIZE[tensor.dtype]
        whole = np.zeros(tensor.shape, dtype=f"V{width}")
        known = np.zeros(tensor.shape, dtype=bool)
        for chunk in chunks:
            box = tuple(slice(at, at + size) for at, size in zip(chunk.offsets, chunk.sizes, strict=True))
            if known[box].any():
                raise self.opened[0].error(tr("its chunks overlap, or leave a part of it out"), name)
            known[box] = True
            data = self._chunk(name, tensor.dtype, chunk)
            whole[box] = np.frombuffer(data, dtype=whole.dtype).reshape(chunk.sizes)
        return whole.tobytes()

    def _chunk(self, name: str, dtype: str, chunk: Chunk) -> bytes | bytearray:
        """Return a chunk's elements, C order."""
        from vqcheck.checkpoint import torch_zip

        size = prod(chunk.sizes) * ITEM_SIZE[dtype]
        part = FilePart(self._file(chunk.file), chunk.start, chunk.length, name)
        if chunk.length > size + _MOST_AROUND:
            raise part.error(
                tr(
                    "a chunk of it takes {length} bytes for {size}, which torch does not write",
                    length=chunk.length,
                    size=size,
                )
            )
        source = Source(part, is_shard=True)
        if source.head[:4] != b"PK\x03\x04" or not torch_zip.recognises(source):
            raise part.error(tr("a chunk of it is no torch archive"))
        archive = torch_zip.open_source(source)
        stored = archive.tensors.get("")
        if (
            stored is None
            or archive.classes
            or archive.module_classes
            or stored.problem
            or stored.dtype != dtype
            or stored.shape != chunk.sizes
        ):
            raise part.error(tr("a chunk of it is not stored as the tensor that the index describes"))
        return archive.read(stored)

    def _file(self, name: str) -> PositionedFile:
        file = self._by_name.get(name)
        if file is None:
            file = self._by_name[name] = PositionedFile(self._paths[name])
            self.opened.append(file)
        return file
