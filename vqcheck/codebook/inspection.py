"""What one checkpoint is: its format, its model, its VQ encoder with digests, and the codebook's health."""

from collections import Counter
from dataclasses import dataclass
from typing import Final

from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook import digest, health, model
from vqcheck.codebook.digest import EncoderDigests
from vqcheck.codebook.family import INPUT_PROJ, Family
from vqcheck.codebook.find import find_vq_encoders
from vqcheck.codebook.health import Health
from vqcheck.codebook.model import Model, Training
from vqcheck.codebook.vq_encoder import Codebook, RoleTensor, VQEncoder
from vqcheck.errors import NoCodebookError

HEALTHY: Final = "healthy"
NEVER_TRAINED: Final = "never trained"
NOT_FINITE: Final = "not finite"
NO_CODEBOOK: Final = "no codebook"


@dataclass(frozen=True, slots=True)
class TensorSummary:
    """One tensor of the VQ encoder as it is stored."""

    label: str
    place: str
    """What the label says of the place, such as `acoustic.3`; empty when there is but one."""
    book: str
    """The place without group and layer."""
    name: str
    dtype: str
    shape: tuple[int, ...]
    """As it is read: codes before dimensions, also where the file has the other order."""


@dataclass(frozen=True, slots=True)
class BookSummary:
    """One quantizer of a VQ encoder: its codebooks, which are alike."""

    name: str
    """What tells it from the others; empty when it is the only one."""
    codebooks: int
    """Codebooks that the quantizer looks up in, shared ones counted each time."""
    stored: int
    """Codebooks in the file, shared ones counted once."""
    heads: int
    codes: int
    dim: int


@dataclass(frozen=True, slots=True)
class EncoderSummary:
    """One VQ encoder of a file."""

    family: str
    title: str
    prefix: str
    is_shadow: bool
    structural: bool
    """No codec is known that has these names; it was found by what lies side by side."""
    derivation: str
    also_found: tuple[str, ...]
    books: tuple[BookSummary, ...]
    tensors: tuple[TensorSummary, ...]
    codebooks: tuple[Health, ...]
    projection_not_finite: int
    """Values of the input projection that are NaN or infinite."""
    f32: EncoderDigests
    f16: EncoderDigests

    @property
    def verdict(self) -> str:
        if any(book.never_trained for book in self.codebooks):
            return NEVER_TRAINED
        not_finite = self.projection_not_finite or any(book.not_finite for book in self.codebooks)
        return NOT_FINITE if not_finite else HEALTHY


@dataclass(frozen=True, slots=True)
class Inspection:
    """Everything `vqcheck inspect` says of one file."""

    path: str
    format: str
    header_code: str
    container: str
    other_containers: tuple[str, ...]
    classes: tuple[str, ...]
    """Classes whose code runs when the file is loaded with weights_only=False."""
    precision: tuple[tuple[str, int], ...]
    """(element type, number of tensors), most frequent first."""
    model: Model
    training: Training
    vq_encoder: EncoderSummary | None
    """The one that `diff` judges first."""
    others: tuple[EncoderSummary, ...]
    """Further VQ encoders of the file."""
    why_none: str
    """Why there is no VQ encoder; empty when there is one."""

    @property
    def verdict(self) -> str:
        if self.vq_encoder is None:
            return NO_CODEBOOK
        verdicts = {each.verdict for each in (self.vq_encoder, *self.others)}
        return next(verdict for verdict in (NEVER_TRAINED, NOT_FINITE, HEALTHY) if verdict in verdicts)


def inspect(checkpoint: Checkpoint, own: tuple[Family, ...] = ()) -> Inspection:
    """Return what an open checkpoint is; a file without a codebook is described too.

    `own` are rows of the user's that are tried before the family table.

    Raises:
        CheckpointError: a tensor of the VQ encoder cannot be read.

    """
    summaries: list[EncoderSummary] = []
    why_none = ""
    try:
        summaries = [_summarise(checkpoint, encoder) for encoder in find_vq_encoders(checkpoint, own)]
    except NoCodebookError:
        why_none = model.why_no_codebook(checkpoint)
    types = Counter(tensor.dtype for tensor in checkpoint.tensors.values())
    return Inspection(
        path=str(checkpoint.path),
        format=checkpoint.format,
        header_code=checkpoint.header_code,
        container=checkpoint.container,
        other_containers=checkpoint.other_containers,
        classes=checkpoint.classes,
        precision=tuple(types.most_common()),
        model=model.identify(checkpoint),
        training=model.training(checkpoint),
        vq_encoder=summaries[0] if summaries else None,
        others=tuple(summaries[1:]),
        why_none=why_none,
    )


def _summarise(checkpoint: Checkpoint, encoder: VQEncoder) -> EncoderSummary:
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
        is_shadow=encoder.is_shadow,
        structural=encoder.family.structural,
        derivation=encoder.family.derivation,
        also_found=encoder.also_found,
        books=_books(encoder),
        tensors=tuple(_tensor(encoder, tensor) for tensor in encoder.tensors),
        codebooks=tuple(
            health.examine(encoder.family, codebook, data, encoder.where(codebook.place))
            for codebook in encoder.codebooks
        ),
        projection_not_finite=sum(
            health.not_finite(tensor, data[tensor]) for tensor in encoder.projection if tensor.role == INPUT_PROJ
        ),
        f32=digests[digest.F32V1],
        f16=digests[digest.F16V1],
    )


def _tensor(encoder: VQEncoder, tensor: RoleTensor) -> TensorSummary:
    return TensorSummary(
        label=encoder.label(tensor),
        place=encoder.where(tensor.place[:3]),
        book=encoder.name_of_book(tensor.book),
        name=tensor.tensor.name,
        dtype=tensor.tensor.dtype,
        shape=tensor.tensor.shape,
    )


def _books(encoder: VQEncoder) -> tuple[BookSummary, ...]:
    """Return a line for each quantizer; one whose codebooks differ in size has a line for each size."""
    alike: dict[tuple[int, tuple[int, ...]], list[Codebook]] = {}
    for codebook in encoder.codebooks:
        alike.setdefault((codebook.place[0], codebook.codes.shape), []).append(codebook)
    return tuple(
        BookSummary(
            name=encoder.name_of_book(book),
            codebooks=sum(1 + len(codebook.tied) for codebook in codebooks),
            stored=len(codebooks),
            heads=heads,
            codes=codes,
            dim=dim,
        )
        for (book, (heads, codes, dim)), codebooks in alike.items()
    )
