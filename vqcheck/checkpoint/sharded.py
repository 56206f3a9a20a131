"""The index of a sharded checkpoint: `{"weight_map": {tensor name: file beside the index}}`."""

from typing import Final

from vqcheck.checkpoint.file import PositionedFile
from vqcheck.checkpoint.shown import shown
from vqcheck.checkpoint.strict_json import parse_json
from vqcheck.errors import CheckpointError

_MAX_INDEX: Final = 16 << 20
_MAX_SHARDS: Final = 1_000


def shard_of_each_tensor(file: PositionedFile) -> dict[str, str]:
    """Return tensor name -> base name of the shard that holds it.

    Raises:
        CheckpointError: not such an index, or one that names files elsewhere than in its own folder.

    """
    if file.size > _MAX_INDEX:
        raise CheckpointError(f"{file.label}: {file.size} bytes, too long for the index of a sharded checkpoint")
    weight_map = parse_json(bytes(file.read(0, file.size, "index")), file.label).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{file.label}: is JSON, but no index of a sharded checkpoint (no weight_map)")
    shards = set()
    for name, shard in weight_map.items():
        # Colons and backslashes lead elsewhere on Windows only, but an index has no use for them anywhere.
        if not isinstance(shard, str) or shard in ("", ".", "..") or any(mark in shard for mark in "/\\:\0"):
            raise CheckpointError(f"{file.label}: {shown(name)}: its shard must be a file in the index's own folder")
        shards.add(shard)
    if len(shards) > _MAX_SHARDS:
        raise CheckpointError(f"{file.label}: names {len(shards)} shards, more than the {_MAX_SHARDS} that are opened")
    return weight_map
