"""Which files of a folder are checkpoints: a model as hubs distribute it, sharded or whole."""

import os
from typing import Final

from vqcheck.checkpoint.shown import one_line
from vqcheck.errors import CheckpointError

_INDEXES: Final = (".safetensors.index.json", ".bin.index.json")
_ENDINGS: Final = (".safetensors", ".bin", ".pth", ".pt", ".ckpt", ".th")
_SHOWN: Final = 5


def checkpoints_in(folder: str) -> list[str]:
    """Return the checkpoints of a folder, by name: indexes of sharded ones, then whole files.

    The kinds are looked for in turn, and the first kind that is there is taken: hubs offer one model in several. Files
    that an index divides a model into do not count.

    Raises:
        CheckpointError: the folder cannot be read, or holds no checkpoint.

    """
    label = one_line(folder)
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise CheckpointError(f"{label}: cannot be read: {error.strerror}") from None
    for index, ending in zip(_INDEXES, _ENDINGS, strict=False):
        found = [name for name in names if name.endswith(index)]
        stems = tuple(name.removesuffix(index) + "-" for name in found)
        whole = [name for name in names if name.endswith(ending) and not (stems and name.startswith(stems))]
        if ending == ".bin":
            # Hubs keep other things than weights under this ending, too.
            whole = [name for name in whole if name.endswith("model.bin")]
        if found or whole:
            return [os.path.join(folder, name) for name in found + whole]
    whole = [name for name in names if name.endswith(_ENDINGS[2:])]
    if whole:
        return [os.path.join(folder, name) for name in whole]
    inner = [name for name in names if os.path.isdir(os.path.join(folder, name)) and _has_checkpoint(folder, name)]
    hint = f"; these folders in it hold some: {_listed(inner)}" if inner else ""
    raise CheckpointError(f"{label}: is a directory, expected a checkpoint file or a folder with one{hint}")


def only_checkpoint_in(folder: str) -> str:
    """Return the path of the one checkpoint of a folder.

    Raises:
        CheckpointError: it holds none, or several, of which one must be named.

    """
    paths = checkpoints_in(folder)
    # Hubs offer one model as .safetensors and .bin; training files beside them are other models.
    others = (os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name.endswith(_ENDINGS[2:]))
    paths += [path for path in others if path not in paths]
    if len(paths) > 1:
        names = _listed([os.path.basename(path) for path in paths])
        raise CheckpointError(f"{one_line(folder)}: holds several checkpoints, name one: {names}")
    return paths[0]


def _has_checkpoint(folder: str, name: str) -> bool:
    try:
        return any(inner.endswith((*_INDEXES, *_ENDINGS)) for inner in os.listdir(os.path.join(folder, name)))
    except OSError:
        return False


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return one_line(", ".join(names[:_SHOWN])) + more
