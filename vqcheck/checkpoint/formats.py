"""Which format a file has. Each format is one module, which recognises its own files and opens them, and one row here.

A new one is such a module, its row, and its test. Rows are asked in their order: what two libraries would read in two
ways is refused by whichever row sees it.
"""

import os
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Final, Protocol

from vqcheck.checkpoint.file import PositionedFile
from vqcheck.checkpoint.model_folder import DISTRIBUTED_PART
from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.errors import CheckpointError

if TYPE_CHECKING:
    from vqcheck.checkpoint.zip_archive import ZipArchive

_HEAD: Final = 512


class Source:
    """A file whose format is asked for.

    Attributes:
        file: the open file.
        head: its first bytes, 512 at most.
        is_shard: an index of a sharded checkpoint led to it.

    """

    def __init__(self, file: PositionedFile, *, is_shard: bool = False) -> None:
        self.file = file
        self.head = bytes(file.read(0, min(file.size, _HEAD), "beginning of the file"))
        self.is_shard = is_shard

    @property
    def is_zip(self) -> bool:
        """Whether it begins as a zip archive, also with GPT-SoVITS's version code in place of the first two bytes."""
        return self.head[2:4] == b"\x03\x04" and (self.head[:2] == b"PK" or self.head[:2].isdigit())

    @property
    def header_code(self) -> str:
        """The version code that stands in place of a zip archive's first two bytes; empty where none does."""
        return "" if self.head[:2] == b"PK" else self.head[:2].decode()

    @cached_property
    def archive(self) -> "ZipArchive":
        """The zip archive that it is; `CheckpointError` where it is none."""
        from vqcheck.checkpoint.zip_archive import ZipArchive

        if self.head[6:8] == b"\0\0" and self.head[8:9] in (b"{", b" ", b"\t", b"\r", b"\n"):
            raise self.file.error("begins as an archive and as a safetensors file; save it again as one")
        return ZipArchive(self.file)


class Format(Protocol):
    """What the module of a format has."""

    def recognises(self, source: Source, /) -> bool:
        """Say whether the file is of this format, be it sound or damaged."""

    def open_source(self, source: Source, /) -> Checkpoint:
        """Return the open checkpoint; `CheckpointError` where it cannot be read, or not safely."""


def _rows(source: Source) -> Iterator[Format]:
    """Yield the formats that a file may have, in the order in which they are asked; the others are not imported."""
    if source.is_zip:
        from vqcheck.checkpoint import torch_zip

        yield torch_zip
        if not source.is_shard:
            from vqcheck.checkpoint import npz, torchscript

            yield from (torchscript, npz)
        return
    from vqcheck.checkpoint import safetensors_header

    # Before JSON: the length in front of a header may begin with the byte of a brace.
    yield safetensors_header
    from vqcheck.checkpoint import sharded

    yield sharded
    if not source.is_shard:  # libraries that read shards know no other formats
        from vqcheck.checkpoint import distributed, npy, numpy_pickle

        yield from (distributed, npy, numpy_pickle)
    from vqcheck.checkpoint import torch_legacy

    yield torch_legacy


def open_path(path: str | os.PathLike[str], *, is_shard: bool = False) -> Checkpoint:
    """Open a file of any format; raises as `open_checkpoint`."""
    file = _positioned(path)
    try:
        return _open(file, is_shard=is_shard)
    except MemoryError:
        file.close()
        raise file.error("not enough memory to read its index") from None
    except CheckpointError as error:
        file.close()
        from vqcheck.checkpoint.not_a_checkpoint import unfinished

        hint = unfinished(file.path)
        if not hint or hint in error.reason:
            raise
        raise CheckpointError(f"{error.reason}; the file {hint}", error.path, error.member) from None
    except BaseException:
        file.close()
        raise


def _positioned(path: str | os.PathLike[str]) -> PositionedFile:
    try:
        return PositionedFile(path)
    except CheckpointError:
        from vqcheck.checkpoint.not_a_checkpoint import path_kind

        kind = path_kind(os.fsdecode(path))
        if not kind:
            raise
        raise CheckpointError(kind, os.fsdecode(path)) from None


def _open(file: PositionedFile, *, is_shard: bool) -> Checkpoint:
    if not file.size:
        raise file.error("is empty; save or download it again")
    if os.path.exists(f"{file.path}.aria2"):
        from vqcheck.checkpoint.not_a_checkpoint import unfinished

        raise file.error(unfinished(file.path))
    if file.path.endswith(DISTRIBUTED_PART):
        raise file.error("is a part of a distributed checkpoint; name the folder that it lies in")
    source = Source(file, is_shard=is_shard)
    for row in _rows(source):
        if row.recognises(source):
            return row.open_source(source)
    # A legacy torch file is what everything else is taken for.
    from vqcheck.checkpoint.not_a_checkpoint import zip_kind

    raise file.error(zip_kind(source.archive.members))
