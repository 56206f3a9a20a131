"""Loads checkpoints into the networks, through vqcheck's own reader: nothing in a file is executed."""

import torch
from torch import Tensor, nn

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook import inspection
from vqcheck.codebook.health import FIT_TO_TRAIN
from vqcheck.errors import UsageError


def check_generator(outline: nn.Module, path: str, version: str) -> None:
    """Refuse a checkpoint that the generator cannot start from; only its index and its VQ encoder are read.

    Raises:
        UsageError: it is no generator, of another version or size, or its codebook is not fit to train from.
        CheckpointError: it cannot be read.

    """
    with open_checkpoint(path) as checkpoint:
        found = inspection.inspect(checkpoint)
        if found.vq_encoder is None:
            raise UsageError(f"{path}: {found.why_none}")
        if version != "tiny" and found.model.version and version not in found.model.version.split(" or "):
            stored = f"a {found.model.version} checkpoint ({found.model.evidence})"
            raise UsageError(f"{path}: is {stored}, the configuration says {version}")
        if found.verdict not in FIT_TO_TRAIN:
            raise UsageError(f"{path}: its codebook is {found.verdict}: a replay from it would prove nothing")
        _check_shapes(outline, checkpoint)


def check_discriminator(outline: nn.Module, path: str) -> None:
    """Refuse a checkpoint that the discriminator cannot start from; only its index is read.

    Raises:
        UsageError: it holds no discriminator, or one of another size.
        CheckpointError: it cannot be read.

    """
    with open_checkpoint(path) as checkpoint:
        if not any(name.startswith("discriminators.") for name in checkpoint.tensors):
            raise UsageError(f"{path}: is no discriminator: it holds no tensors named discriminators.*")
        _check_shapes(outline, checkpoint)


def load(net: nn.Module, path: str) -> list[str]:
    """Load a checkpoint, widened to float32; what it lacks keeps its fresh value. Returns notes on that.

    Raises:
        CheckpointError: a tensor cannot be read.

    """
    with open_checkpoint(path) as checkpoint:
        own = net.state_dict()
        state = {name: read_tensor(checkpoint, name) for name in own if name in checkpoint.tensors}
        net.load_state_dict(state, strict=False)
    absent = sorted({name.split(".")[0] for name in own if name not in state})
    return [f"{path}: lacks {', '.join(absent)}: fresh weights there"] if absent else []


def _check_shapes(outline: nn.Module, checkpoint: Checkpoint) -> None:
    for name, tensor in outline.state_dict().items():
        stored = checkpoint.tensors.get(name)
        if stored is not None and stored.shape != tuple(tensor.shape):
            raise UsageError(
                f"{checkpoint.path}: {name} has the shape {list(stored.shape)}, "
                f"the configured model's has {list(tensor.shape)}"
            )


def read_tensor(checkpoint: Checkpoint, name: str) -> Tensor:
    """Return one stored tensor as float32."""
    stored = checkpoint.tensors[name]
    dtype = getattr(torch, stored.dtype, None)
    data = checkpoint.read(stored)
    if not isinstance(dtype, torch.dtype):
        raise UsageError(f"{checkpoint.path}: {name}: this torch has no element type {stored.dtype}")
    if not data:
        return torch.zeros(stored.shape)
    return torch.frombuffer(bytearray(data), dtype=dtype).view(stored.shape).float()
