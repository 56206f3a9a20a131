"""Which format a file has. Each format is one module, which recognises its own files and opens them, and one row here.

A new one is such a module, its row, and its test. Rows are asked in their order: what two libraries would read in two
ways is refused by whichever row sees it.
"""

import os
from collections.abc import Iterator

from vqcheck.checkpoint.checkpoint_names import DISTRIBUTED_PART
from vqcheck.checkpoint.file import PositionedFile
from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.checkpoint.remote.address import Address, is_address
from vqcheck.checkpoint.source import Format, Source
from vqcheck.checkpoint.torch_meaning import PickledIndex
from vqcheck.errors import CheckpointError
from vqcheck.language import tr


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


def open_path(path: str | os.PathLike[str], *, is_shard: bool = False, known: PickledIndex | None = None) -> Checkpoint:
    """Open a file of any format, given an index that its own may be equal to; raises as `open_checkpoint`."""
    file = _positioned(path)
    try:
        return _open(file, is_shard=is_shard, known=known)
    except MemoryError:
        file.close()
        raise file.error(tr("not enough memory to read its index")) from None
    except CheckpointError as error:
        file.close()
        from vqcheck.checkpoint.not_a_checkpoint import unfinished

        hint = unfinished(file.path)
        if not hint or hint in error.reason:
            raise
        raise CheckpointError(
            tr("{reason}; the file {hint}", reason=error.reason, hint=hint), error.path, error.member
        ) from None
    except BaseException:
        file.close()
        raise


def _open_shard(path: str) -> Checkpoint:
    return open_path(path, is_shard=True)


def _positioned(path: str | os.PathLike[str]) -> PositionedFile:
    if isinstance(path, str) and is_address(path):
        from vqcheck.checkpoint.remote.open import open_remote

        return open_remote(Address(path))
    try:
        return PositionedFile(path)
    except CheckpointError:
        from vqcheck.checkpoint.not_a_checkpoint import path_kind

        kind = path_kind(os.fsdecode(path))
        if not kind:
            raise
        raise CheckpointError(kind, os.fsdecode(path)) from None


def _open(file: PositionedFile, *, is_shard: bool, known: PickledIndex | None) -> Checkpoint:
    if not file.size:
        raise file.error(tr("is empty; save or download it again"))
    if os.path.exists(f"{file.path}.aria2"):
        from vqcheck.checkpoint.not_a_checkpoint import unfinished

        raise file.error(unfinished(file.path))
    if file.path.endswith(DISTRIBUTED_PART):
        raise file.error(tr("is a part of a distributed checkpoint; name the folder that it lies in"))
    source = Source(file, is_shard=is_shard, open_shard=_open_shard, known=known)
    for row in _rows(source):
        if row.recognises(source):
            return row.open_source(source)
    # A legacy torch file is what everything else is taken for.
    from vqcheck.checkpoint.not_a_checkpoint import zip_kind

    raise file.error(zip_kind(source.archive.members))
