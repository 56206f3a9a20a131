"""Loads checkpoints into the networks, through vqcheck's own reader: nothing in a file is executed."""

import torch
from torch import Tensor, nn

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook import inspection
from vqcheck.codebook.model import identify
from vqcheck.errors import UsageError
from vqcheck.synthesizer import StateDictMismatchError, SynthesizerTrn


def load_generator(net_g: SynthesizerTrn, path: str, version: str) -> list[str]:
    """Load a generator's checkpoint, widened to float32; what it lacks keeps its fresh value. Returns notes on that.

    Raises:
        UsageError: the file is of another version or size, or its codebook was never trained or is not finite.
        CheckpointError, NoCodebookError: it cannot be read, or holds no codebook.

    """
    with open_checkpoint(path) as checkpoint:
        model = identify(checkpoint)
        if version != "tiny" and model.version not in ("", version):
            raise UsageError(
                f"{path}: is a {model.version} checkpoint ({model.evidence}), the configuration says {version}"
            )
        found = inspection.inspect(checkpoint)
        if found.vq_encoder is None:
            raise UsageError(f"{path}: {found.why_none}")
        if found.verdict != inspection.HEALTHY:
            raise UsageError(f"{path}: its codebook is {found.verdict}: a replay from it would prove nothing")
        return _load(net_g, checkpoint, path)


def load_discriminator(net_d: nn.Module, path: str) -> list[str]:
    """Load a discriminator's checkpoint; what it lacks keeps its fresh value. Returns notes on that.

    Raises:
        UsageError: the file holds no discriminator, or one of another size.
        CheckpointError: it cannot be read.

    """
    with open_checkpoint(path) as checkpoint:
        if not any(name.startswith("discriminators.") for name in checkpoint.tensors):
            raise UsageError(f"{path}: is no discriminator: it holds no tensors named discriminators.*")
        return _load(net_d, checkpoint, path)


def _load(net: nn.Module, checkpoint: Checkpoint, path: str) -> list[str]:
    own = net.state_dict()
    state = {name: read_tensor(checkpoint, name) for name in own if name in checkpoint.tensors}
    try:
        net.load_state_dict(state, strict=False)
    except StateDictMismatchError as error:
        raise UsageError(f"{path}: {error}") from None
    absent = sorted({name.split(".")[0] for name in own if name not in state})
    return [f"{path}: lacks {', '.join(absent)}: fresh weights there"] if absent else []


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
