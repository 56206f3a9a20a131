"""What of a file GPT-SoVITS's training loads: one state dict by its name, whatever else the file holds."""

from typing import Final

from vqcheck.checkpoint.opened import Checkpoint

PRETRAINED: Final = "weight"
"""Where the training script looks for the model to start from."""
RESUMED: Final = "model"
"""Where it looks in a checkpoint of its own."""


def as_training_reads(checkpoint: Checkpoint, name: str) -> Checkpoint:
    """Return an open checkpoint with the state dict of this name alone; as it is where it has none."""
    keys = (name,)
    return checkpoint.only(keys) if any(file.keys == keys for file in checkpoint.state_dicts) else checkpoint
