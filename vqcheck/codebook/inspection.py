"""What one checkpoint is: its format, its model, its VQ encoder with digests, and the codebook's health."""

from collections import Counter
from dataclasses import dataclass
from typing import Final

from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook import digest, health, model
from vqcheck.codebook.digest import EncoderDigests
from vqcheck.codebook.find import find_vq_encoder
from vqcheck.codebook.health import Health
from vqcheck.codebook.model import Model, Training
from vqcheck.errors import NoCodebookError

HEALTHY: Final = "healthy"
NEVER_TRAINED: Final = "never trained"
NOT_FINITE: Final = "not finite"
NO_CODEBOOK: Final = "no codebook"


@dataclass(frozen=True, slots=True)
class TensorSummary:
    """One tensor of the VQ encoder as it is stored."""

    label: str
    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EncoderSummary:
    """The VQ encoder of one file."""

    family: str
    title: str
    prefix: str
    also_found: tuple[str, ...]
    tensors: tuple[TensorSummary, ...]
    codebooks: tuple[Health, ...]
    f32: EncoderDigests
    f16: EncoderDigests


@dataclass(frozen=True, slots=True)
class Inspection:
    """Everything `vqcheck inspect` says of one file."""

    path: str
    format: str
    header_code: str
    container: str
    other_containers: tuple[str, ...]
    precision: tuple[tuple[str, int], ...]
    """(element type, number of tensors), most frequent first."""
    model: Model
    training: Training
    vq_encoder: EncoderSummary | None
    why_none: str
    """Why there is no VQ encoder; empty when there is one."""

    @property
    def verdict(self) -> str:
        if self.vq_encoder is None:
            return NO_CODEBOOK
        if any(book.never_trained for book in self.vq_encoder.codebooks):
            return NEVER_TRAINED
        return NOT_FINITE if any(book.not_finite for book in self.vq_encoder.codebooks) else HEALTHY


def inspect(checkpoint: Checkpoint) -> Inspection:
    """Return what an open checkpoint is; a file without a codebook is described too.

    Raises:
        CheckpointError: a tensor of the VQ encoder cannot be read.

    """
    summary, why_none = None, ""
    try:
        summary = _summarise(checkpoint)
    except NoCodebookError:
        why_none = model.why_no_codebook(checkpoint)
    types = Counter(tensor.dtype for tensor in checkpoint.tensors.values())
    return Inspection(
        path=str(checkpoint.path),
        format=checkpoint.format,
        header_code=checkpoint.header_code,
        container=checkpoint.container,
        other_containers=checkpoint.other_containers,
        precision=tuple(types.most_common()),
        model=model.identify(checkpoint),
        training=model.training(checkpoint),
        vq_encoder=summary,
        why_none=why_none,
    )


def _summarise(checkpoint: Checkpoint) -> EncoderSummary:
    encoder = find_vq_encoder(checkpoint)
    data = {tensor: checkpoint.read(tensor.tensor) for tensor in encoder.tensors}
    digests = {
        algorithm: digest.combine(
            encoder,
            {tensor: digest.tensor_digest(tensor, content, algorithm) for tensor, content in data.items()},
            algorithm,
        )
        for algorithm in (digest.F32V1, digest.F16V1)
    }
    return EncoderSummary(
        family=encoder.family.name,
        title=encoder.family.title,
        prefix=encoder.prefix,
        also_found=encoder.also_found,
        tensors=tuple(
            TensorSummary(encoder.label(t), t.tensor.name, t.tensor.dtype, t.tensor.shape) for t in encoder.tensors
        ),
        codebooks=tuple(health.examine(encoder.family, codebook, data) for codebook in encoder.codebooks),
        f32=digests[digest.F32V1],
        f16=digests[digest.F16V1],
    )
