"""A model as hubs distribute it: which files of a folder are checkpoints, and the shards that an index names.

The index is JSON: `{"weight_map": {tensor name: file beside the index}}`.
"""

import os
import re
from typing import Final

from vqcheck.checkpoint.file import PositionedFile
from vqcheck.checkpoint.not_a_checkpoint import BIN_NAME, SAFETENSORS_NAME, SHARD_NAME, TRAINING, folder_kind, listed
from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.checkpoint.untrusted_text import parse_json
from vqcheck.errors import CheckpointError
from vqcheck.sanitize import sanitize, sanitize_name

_MAX_INDEX: Final = 16 << 20
_MAX_SHARDS: Final = 1_000
_MAX_INDEXES: Final = 64 << 20
"""Bytes that are read of all shards together to learn what they hold."""


def checkpoints_in(folder: str) -> list[str]:
    """Return the checkpoints of a folder, by name: indexes of sharded ones, then whole files.

    Hubs offer one model as .safetensors and .bin; the first is taken, as their libraries do. Training files (.pth, ...)
    count where there is neither. Files that an index divides a model into do not count.

    Raises:
        CheckpointError: the folder cannot be read, or holds no checkpoint.

    """
    names = _listing(folder)
    models = _models(names, SAFETENSORS_NAME)
    # Under another name it is another model, and the libraries do not know which of them is meant either.
    models |= {name: kind for name, kind in _models(names, BIN_NAME).items() if kind not in models.values()}
    shards = {shard for index in models if index.endswith(".json") for shard in _shards(os.path.join(folder, index))}
    found = [name for name in models if name not in shards and not re.fullmatch(SHARD_NAME, name)]
    found = found or [name for name in names if name.endswith(TRAINING)]
    if not found:
        raise CheckpointError(folder_kind(folder, names), folder)
    return [os.path.join(folder, name) for name in sorted(found, key=lambda name: (not name.endswith(".json"), name))]


def only_checkpoint_in(folder: str) -> str:
    """Return the path of the one checkpoint of a folder.

    Raises:
        CheckpointError: it holds none, or several, of which one must be named.

    """
    paths = checkpoints_in(folder)
    # Training files beside a hub's are other models.
    others = (os.path.join(folder, name) for name in _listing(folder) if name.endswith(TRAINING))
    paths += [path for path in others if path not in paths]
    if len(paths) > 1:
        names = listed([os.path.basename(path) for path in paths])
        hint = "; 'vqcheck history' compares them all" if all(path.endswith(TRAINING) for path in paths) else ""
        raise CheckpointError(f"holds several checkpoints, name one: {names}{hint}", folder)
    return paths[0]


def _listing(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        raise CheckpointError(f"cannot be read: {error.strerror}", folder) from None


def _models(names: list[str], pattern: str) -> dict[str, str]:
    """Return file -> name of the model in it, by which its other forms are known."""
    matches = {name: re.fullmatch(pattern, name) for name in names}
    return {name: match[1].removeprefix("pytorch_") for name, match in matches.items() if match}


def _shards(index: str) -> set[str]:
    """Return the files that an index names; what is wrong with it is said when it is opened."""
    try:
        with PositionedFile(index) as file:
            return set(shard_of_each_tensor(file).values())
    except CheckpointError:
        return set()


def shard_of_each_tensor(file: PositionedFile) -> dict[str, str]:
    """Return tensor name -> base name of the shard that holds it.

    Raises:
        CheckpointError: not such an index, or one that names files elsewhere than in its own folder.

    """
    if file.size > _MAX_INDEX:
        raise file.error(f"{file.size} bytes, too long for the index of a sharded checkpoint")
    weight_map = parse_json(bytes(file.read(0, file.size, "index")), file).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise file.error("is JSON, but not the index of a sharded checkpoint (no weight_map)")
    shards = set()
    for name, shard in weight_map.items():
        # Colons and backslashes lead elsewhere on Windows only, but an index has no use for them anywhere.
        if not isinstance(shard, str) or shard in ("", ".", "..") or any(mark in shard for mark in "/\\:\0"):
            raise file.error("its shard must be a file in the index's own folder", name)
        shards.add(shard)
    if len(shards) > _MAX_SHARDS:
        raise file.error(f"names {len(shards)} shards, more than the {_MAX_SHARDS} that are opened")
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
            f"is a link that leads out of the folder, to {sanitize(os.path.realpath(path))}; "
            "name the index beside that file",
            path,
        )
    return path


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
            f"keeps tensors in a container ({sanitize_name(container)}), where a shard is the state dict itself"
        )
    for tensor in shard.tensors:
        home = shard_of.get(tensor)
        if home != name:
            where = f"which the index gives to {sanitize_name(home)}" if home else "which the index does not list"
            raise index.error(f"{sanitize_name(name)} holds {sanitize_name(tensor)}, {where}")
    spent = sum(file.bytes_read for each in opened.values() for file in each.files)
    if spent > _MAX_INDEXES:
        raise index.error(f"{spent} bytes of indexes in its shards, more than the {_MAX_INDEXES} that are read")
