"""The index of a sharded checkpoint, and the files that it divides a model into.

The index is JSON: `{"weight_map": {tensor name: file beside the index}}`.
"""

import os
from dataclasses import replace
from typing import Final

from vqcheck.checkpoint.file import PositionedFile
from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.checkpoint.remote.address import is_address
from vqcheck.checkpoint.shard_index import shard_of_each_tensor, shard_path
from vqcheck.checkpoint.source import Source
from vqcheck.checkpoint.stored_tensor import Extent, StoredTensor, missing_part
from vqcheck.language import tr
from vqcheck.sanitize import sanitize_name

_MAX_INDEXES: Final = 64 << 20
"""Bytes that are read of all shards together to learn what they hold."""


def recognises(source: Source) -> bool:
    """Say whether a file begins as JSON."""
    return source.head[:1] == b"{" or source.head[:4] == b"\xef\xbb\xbf{"


def open_source(source: Source) -> Checkpoint:
    """Return an open sharded checkpoint, given its index; raises CheckpointError as what it calls."""
    index = source.file
    if source.is_shard:
        # Followed, it could lead back to itself.
        raise index.error(tr("is the index of a sharded checkpoint, where a shard is expected"))
    shard_of = shard_of_each_tensor(index)
    opened: dict[str, Checkpoint] = {}
    try:
        for shard in dict.fromkeys(shard_of.values()):
            path = shard_path(index, shard)
            if os.path.lexists(path) or is_address(path):
                opened[shard] = source.open_shard(path)
                check_shards(index, shard_of, opened)
        if not opened:
            raise index.error(tr("none of the files that it names is there; get them, too"))
        tensors = {
            name: _in_shard(index, name, shard, opened[shard]) if shard in opened else _missing(name, shard)
            for name, shard in shard_of.items()
        }
    except BaseException:
        for each in opened.values():
            each.close()
        raise
    return Checkpoint(
        [index, *(file for each in opened.values() for file in each.files)],
        index.path,
        "sharded",
        tensors,
        lambda extent, start, size: opened[extent.shard].read_extent(extent, start, size),
        classes=tuple(sorted({name for each in opened.values() for name in each.classes})),
        missing_files=tuple(shard for shard in dict.fromkeys(shard_of.values()) if shard not in opened),
    )


def _missing(name: str, shard: str) -> StoredTensor:
    """Return what is known of a tensor whose file is not there: its name."""
    return StoredTensor(name, "missing", (), (), 0, Extent(name, 0, 0, shard=shard), missing_part(shard))


def _in_shard(index: PositionedFile, name: str, shard: str, opened: Checkpoint) -> StoredTensor:
    tensor = opened.tensors.get(name)
    if tensor is None:
        raise index.error(tr("is not in {shard}, where the index says it is", shard=sanitize_name(shard)), name)
    return replace(tensor, extent=replace(tensor.extent, shard=shard))


def check_shards(index: PositionedFile, shard_of: dict[str, str], opened: dict[str, Checkpoint]) -> None:
    """Refuse shards of which one reader would load other tensors than another.

    A library loads every tensor of every shard, the later over the earlier, whatever the index says.

    Raises:
        CheckpointError: the last of the shards holds a tensor that the index gives to another one or to none, or holds
            a state dict inside it; or all of them hold more than is read.

    """
    name, shard = list(opened.items())[-1]
    for container in filter(None, (shard.container, *shard.other_containers)):
        raise shard.files[0].error(
            tr(
                "keeps tensors in a container ({container}), where a shard is the state dict itself",
                container=sanitize_name(container),
            )
        )
    if shard.module_classes:
        raise shard.files[0].error(tr("is a module that was saved whole, where a shard is a state dict"))
    for tensor in shard.tensors:
        home = shard_of.get(tensor)
        if home != name:
            file, held = sanitize_name(name), sanitize_name(tensor)
            raise index.error(
                tr(
                    "{file} holds {tensor}, which the index gives to {home}",
                    file=file,
                    tensor=held,
                    home=sanitize_name(home),
                )
                if home
                else tr("{file} holds {tensor}, which the index does not list", file=file, tensor=held)
            )
    spent = sum(file.bytes_read for each in opened.values() for file in each.files)
    if spent > _MAX_INDEXES:
        raise index.error(
            tr(
                "{spent} bytes of indexes in its shards, more than the {most} that are read",
                spent=spent,
                most=_MAX_INDEXES,
            )
        )
