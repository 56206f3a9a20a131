"""How checkpoints are called, and what trainers and hubs keep beside them."""

import re
from collections.abc import Collection
from typing import Final

from vqcheck.language import tr
from vqcheck.sanitize import sanitize

SAFETENSORS: Final = re.compile(r"(.+)\.safetensors(\.index\.json)?")
BIN: Final = re.compile(r"(.*model(\.[^.]+)?)\.bin(\.index\.json)?")
"""Hubs keep other things than weights under this ending, too."""
TRAINING: Final = (".pth", ".pt", ".ckpt", ".th")
SHARD: Final = re.compile(r".+-\d+-of-\d+\.(safetensors|bin)")
DISTRIBUTED, DISTRIBUTED_PART = ".metadata", ".distcp"
"""How the index of a distributed checkpoint is called, and how the names of its other files end."""
CHECKPOINTS: Final = "checkpoints"
"""The folder in which Lightning keeps them."""
INNER: Final = re.compile(rf"{CHECKPOINTS}|pytorch_model_fsdp_\d+")
"""Folders that trainers make for a model, and for nothing else."""
_BESIDE: Final = re.compile(
    r"(optimizer|training_args|scheduler|scaler|rng_state|random_states|sampler|meta|dl_state_dict)([_-]?\d+)*(\.(pt|pth|bin|pkl))?"
)
"""What trainers keep beside a model, in files or folders."""
_SHOWN: Final = 5


def is_checkpoint_name(name: str) -> bool:
    """Say whether a file is called as checkpoints are."""
    return name.endswith(TRAINING) or bool(SAFETENSORS.fullmatch(name) or BIN.fullmatch(name))


def is_beside(name: str) -> bool:
    """Say whether a file or folder is called like what trainers keep beside a model."""
    return _BESIDE.fullmatch(name) is not None


def is_distributed(names: Collection[str]) -> bool:
    """Say whether a folder with these names in it is a distributed checkpoint."""
    return DISTRIBUTED in names and any(name.endswith(DISTRIBUTED_PART) for name in names)


def may_hold_checkpoint(names: Collection[str]) -> bool:
    """Say whether anything in a folder with these names is called like a checkpoint."""
    return any(is_checkpoint_name(name) or name.endswith(DISTRIBUTED_PART) or INNER.fullmatch(name) for name in names)


def listed(names: list[str]) -> str:
    """Return the first of some names, and how many there are beside."""
    row = sanitize(", ".join(names[:_SHOWN]))
    return tr("{names} and {left} more", names=row, left=len(names) - _SHOWN) if len(names) > _SHOWN else row
