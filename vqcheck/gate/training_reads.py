"""What of a file GPT-SoVITS's training loads: one state dict by its name, whatever else the file holds."""

from collections.abc import Iterable
from typing import Final

from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook.wrappers import unwrapped

PRETRAINED: Final = "weight"
"""Where the training script looks for the model to start from."""
RESUMED: Final = "model"
"""Where it looks in a checkpoint of its own."""


def as_training_reads(checkpoint: Checkpoint, name: str) -> Checkpoint:
    """Return an open checkpoint with the state dict of this name alone; as it is where it has none."""
    keys = (name,)
    return checkpoint.only(keys) if any(file.keys == keys for file in checkpoint.state_dicts) else checkpoint


def first_unread(names: Iterable[str]) -> str:
    """Return the first tensor of a VQ encoder that training would not find; empty where it finds all.

    It loads by the model's own names, and leaves what it does not find as it was made: random. So no prefix and no
    wrapper may stand in a name.
    """
    return next(
        (name for name in names if not name.startswith(("quantizer.", "ssl_proj.")) or unwrapped(name) != name), ""
    )
