"""What of a file GPT-SoVITS's training loads: one state dict by its name, whatever else the file holds."""

from typing import Final

from vqcheck.checkpoint.opened import Checkpoint

PRETRAINED: Final = "weight"
"""Where the training script looks for the model to start from."""
RESUMED: Final = "model"
"""Where it looks in a checkpoint of its own."""
_BOOK: Final = "quantizer.vq.layers.0._codebook"
_DECIDING: Final = (f"{_BOOK}.embed", f"{_BOOK}.inited", "ssl_proj.weight", "ssl_proj.bias")
"""What decides tokens, by the names that it has in the model that is trained."""


def not_found(checkpoint: Checkpoint) -> str:
    """Return the name of a tensor that decides tokens and that training would not find; empty where it finds all.

    Names are looked up as they are: behind a prefix or a wrapper a tensor is passed over without an error, and the
    model keeps the random values that it was made with.
    """
    return next((name for name in _DECIDING if name not in checkpoint.tensors), "")


def as_training_reads(checkpoint: Checkpoint, name: str) -> Checkpoint:
    """Return an open checkpoint with the state dict of this name alone; as it is where it has none."""
    keys = (name,)
    return checkpoint.only(keys) if any(file.keys == keys for file in checkpoint.state_dicts) else checkpoint
