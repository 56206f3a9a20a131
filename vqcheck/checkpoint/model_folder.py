"""A model as hubs and trainers keep it in a folder: which of the files in it are checkpoints."""

import os
import re

from vqcheck.checkpoint.checkpoint_names import (
    BIN,
    DISTRIBUTED,
    INNER,
    SAFETENSORS,
    SHARD,
    TRAINING,
    is_beside,
    is_distributed,
    listed,
    may_hold_checkpoint,
)
from vqcheck.checkpoint.file import PositionedFile
from vqcheck.checkpoint.not_a_checkpoint import folder_kind
from vqcheck.checkpoint.shard_index import shard_of_each_tensor
from vqcheck.errors import CheckpointError
from vqcheck.language import tr


def checkpoints_in(folder: str) -> list[str]:
    """Return the checkpoints of a folder, by name: indexes of divided ones first, then whole files.

    Hubs offer one model as .safetensors and .bin; the first is taken, as their libraries do. Files that an index
    divides a model into do not count, nor does what trainers keep beside a model (optimizer.pt, ...). Where there is no
    other, one in a folder that trainers make for it is found there.

    Raises:
        CheckpointError: the folder cannot be read, or holds no checkpoint.

    """
    names = _listing(folder)
    found = [os.path.join(folder, name) for name in _found(folder, names)]
    if not found:
        inner = (os.path.join(folder, name) for name in names if INNER.fullmatch(name))
        found = [path for each in inner if os.path.isdir(each) for path in checkpoints_in(each)]
    if not found:
        raise CheckpointError(folder_kind(folder, names), folder)
    return found


def _found(folder: str, names: list[str]) -> list[str]:
    models = _models(names, SAFETENSORS)
    # Under another name it is another model, and the libraries do not know which of them is meant either.
    models |= {name: kind for name, kind in _models(names, BIN).items() if kind not in models.values()}
    shards = {shard for index in models if index.endswith(".json") for shard in _shards(os.path.join(folder, index))}
    whole = [name for name in models if name not in shards and not SHARD.fullmatch(name)]
    whole += [name for name in names if name.endswith(TRAINING) and not is_beside(name)]
    divided = [DISTRIBUTED] if is_distributed(names) else []
    return divided + sorted(whole, key=lambda name: (not name.endswith(".json"), name))


def only_checkpoint_in(folder: str) -> str:
    """Return the path of the one checkpoint of a folder.

    Raises:
        CheckpointError: it holds none, or several, of which one must be named.

    """
    paths = checkpoints_in(folder)
    if len(paths) > 1:
        names = listed([os.path.basename(path) for path in paths])
        if all(path.endswith(TRAINING) for path in paths):
            raise CheckpointError(
                tr("holds several checkpoints, name one: {names}; 'vqcheck history' compares them all", names=names),
                folder,
            )
        raise CheckpointError(tr("holds several checkpoints, name one: {names}", names=names), folder)
    return paths[0]


def may_be_checkpoint(folder: str) -> bool:
    """Say whether a folder holds something that is called like a checkpoint, or cannot be listed."""
    try:
        names = os.listdir(folder)
    except OSError:
        return True
    return may_hold_checkpoint(names)


def _listing(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        raise CheckpointError(tr("cannot be read: {reason}", reason=error.strerror), folder) from None


def _models(names: list[str], pattern: re.Pattern[str]) -> dict[str, str]:
    """Return file -> name of the model in it, by which its other forms are known."""
    matches = {name: pattern.fullmatch(name) for name in names}
    return {name: match[1].removeprefix("pytorch_") for name, match in matches.items() if match}


def _shards(index: str) -> set[str]:
    """Return the files that an index names; what is wrong with it is said when it is opened."""
    try:
        with PositionedFile(index) as file:
            return set(shard_of_each_tensor(file).values())
    except CheckpointError:
        return set()
