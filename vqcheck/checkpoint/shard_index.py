"""The index of a sharded checkpoint: `{"weight_map": {tensor name: file beside the index}}`, in JSON."""

import os
from typing import Final

from vqcheck.checkpoint.file import PositionedFile
from vqcheck.checkpoint.untrusted_text import parse_json
from vqcheck.errors import CheckpointError
from vqcheck.language import tr
from vqcheck.sanitize import sanitize

_MAX_INDEX: Final = 16 << 20
_MAX_SHARDS: Final = 1_000


def shard_of_each_tensor(file: PositionedFile) -> dict[str, str]:
    """Return tensor name -> base name of the shard that holds it.

    Raises:
        CheckpointError: not such an index, or one that names files elsewhere than in its own folder.

    """
    if file.size > _MAX_INDEX:
        raise file.error(tr("{size} bytes, too long for the index of a sharded checkpoint", size=file.size))
    weight_map = parse_json(bytes(file.read(0, file.size, "index")), file).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise file.error(tr("is JSON, but not the index of a sharded checkpoint (no weight_map)"))
    shards = set()
    for name, shard in weight_map.items():
        # Colons and backslashes lead elsewhere on Windows only, but an index has no use for them anywhere.
        if not isinstance(shard, str) or shard in ("", ".", "..") or any(mark in shard for mark in "/\\:\0"):
            raise file.error(tr("its shard must be a file in the index's own folder"), name)
        shards.add(shard)
    if len(shards) > _MAX_SHARDS:
        raise file.error(
            tr(
                "names {shards} shards, more than the {most} that are opened",
                shards=len(shards),
                most=_MAX_SHARDS,
            )
        )
    return weight_map


def shard_path(index: PositionedFile, shard: str) -> str:
    """Return where a shard is.

    Raises:
        CheckpointError: it is a link that leads out of the folder. The folder is the index's own or, where the index is
            a link too, the one in which it really is, as in the caches of hubs.

    """
    if index.siblings:
        return index.siblings(shard)
    path = os.path.join(os.path.dirname(index.path), shard)
    folder = os.path.dirname(os.path.realpath(path))
    if folder not in (os.path.realpath(os.path.dirname(index.path)), os.path.dirname(os.path.realpath(index.path))):
        raise CheckpointError(
            tr(
                "is a link that leads out of the folder, to {target}; name the index beside that file",
                target=sanitize(os.path.realpath(path)),
            ),
            path,
        )
    return path
