"""What one checkpoint is: its format, its model, its VQ encoder with digests, and the codebook's health."""

import math
from collections import Counter
from dataclasses import dataclass
from typing import Final

from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook import digest, file_record, health, model
from vqcheck.codebook.copies import Copies, Copy, Unreadable
from vqcheck.codebook.copy_verdict import relation
from vqcheck.codebook.digest import EncoderDigests
from vqcheck.codebook.family import Derivation, Family
from vqcheck.codebook.file_record import FileRecord
from vqcheck.codebook.find import find_copies
from vqcheck.codebook.float_bytes import not_finite
from vqcheck.codebook.health import AILMENTS, Condition, Health
from vqcheck.codebook.model import Model, Training
from vqcheck.codebook.vq_encoder import Codebook, InFront, RoleTensor, VQEncoder
from vqcheck.errors import NoCodebookError

UNCHECKED: Final = (Condition.COULD_NOT_CHECK, Condition.NO_CODEBOOK, Condition.UNREADABLE_COPY)
"""Verdicts on a file that was not judged, the worst first."""
_NO_DIGESTS: Final = EncoderDigests((), None, None, None)


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

    copy: str
    """What the copy is called."""
    aliases: tuple[str, ...]
    """Further names under which the same bytes stand."""
    against: str
    """The copy of the same codec that is judged first; empty where this is it."""
    relation: str
    """How it stands to that one: `identical`, `averaging noise`, `changed`, ...; empty where this is it."""
    family: str
    title: str
    prefix: str
    is_shadow: bool
    structural: bool
    """No codec is known that has these names; it was found by what lies side by side."""
    in_front: InFront
    """What is known of the layers in front of its codebooks."""
    unplaced: str
    """A module beside the codebooks that may be in front of them; empty where nothing of the kind is there."""
    derivation: Derivation
    books: tuple[BookSummary, ...]
    tensors: tuple[TensorSummary, ...]
    is_read: bool
    """Whether its values were read; else there are no digests, and nothing is known of its health."""
    codebooks: tuple[Health, ...]
    projection_not_finite: int
    """Values of the projections that decide tokens that are NaN or infinite."""
    f32: EncoderDigests
    f16: EncoderDigests
    bf16: EncoderDigests

    @property
    def verdict(self) -> Condition:
        if not self.is_read:
            return Condition.NOT_READ
        found = {book.verdict for book in self.codebooks} | (
            {Condition.NOT_FINITE} if self.projection_not_finite else set()
        )
        return next((ailment for ailment in AILMENTS if ailment in found), Condition.HEALTHY)


@dataclass(frozen=True, slots=True)
class Inspection:
    """Everything `vqcheck inspect` says of one file."""

    path: str
    format: str
    header_code: str
    container: str
    """Keys that lead to the state dict of the VQ encoder that is judged first, joined with dots."""
    other_containers: tuple[str, ...]
    """State dicts without a VQ encoder."""
    classes: tuple[str, ...]
    """Classes whose code runs when the file is loaded with weights_only=False."""
    module_classes: tuple[str, ...]
    """Classes of modules that were saved whole: their code decides what Python makes of the stored values."""
    missing_files: tuple[str, ...]
    """Files that the checkpoint refers to and that are not there."""
    precision: tuple[tuple[str, int], ...]
    """(element type, number of tensors), most frequent first."""
    model: Model
    training: Training
    record: FileRecord
    """What kind of file it shows itself to be."""
    vq_encoder: EncoderSummary | None
    """The one that `diff` judges first."""
    others: tuple[EncoderSummary, ...]
    """Further VQ encoders of the file."""
    unreadable: tuple[Unreadable, ...]
    """Copies that cannot be read."""
    why_none: str
    """Why there is no VQ encoder; empty when there is one."""

    @property
    def verdict(self) -> Condition:
        if self.vq_encoder is None:
            return Condition.NO_CODEBOOK
        if self.unreadable:
            return Condition.UNREADABLE_COPY
        verdicts = {each.verdict for each in self.encoders}
        return next((each for each in (*AILMENTS, Condition.NOT_READ) if each in verdicts), Condition.HEALTHY)

    @property
    def encoders(self) -> tuple[EncoderSummary, ...]:
        """Every VQ encoder of the file, the one that is judged first in front."""
        return (self.vq_encoder, *self.others) if self.vq_encoder else ()


@dataclass(frozen=True, slots=True)
class UnreadFile:
    """A file that could not be inspected."""

    path: str
    why: str
    """The error as it would be raised."""

    @property
    def verdict(self) -> Condition:
        return Condition.COULD_NOT_CHECK


@dataclass(frozen=True, slots=True)
class InspectedFiles:
    """Everything `vqcheck inspect` was given."""

    files: tuple[Inspection | UnreadFile, ...]
    strict: bool = False
    """Whether a VQ encoder that is unfit for use fails."""

    @property
    def inspected(self) -> list[Inspection]:
        return [file for file in self.files if isinstance(file, Inspection)]

    @property
    def unread(self) -> list[UnreadFile]:
        return [file for file in self.files if isinstance(file, UnreadFile)]

    @property
    def verdict(self) -> Condition:
        """The first of the worst kind: what could not be checked, then what is unfit for use."""
        verdicts = [file.verdict for file in self.files]
        unchecked = next((each for each in UNCHECKED if each in verdicts), None)
        return unchecked or next((each for each in verdicts if each != Condition.HEALTHY), Condition.HEALTHY)

    @property
    def exit_code(self) -> int:
        """2 beats 1 beats 0."""
        if self.verdict in UNCHECKED:
            return 2
        return int(self.strict and self.verdict != Condition.HEALTHY)


def inspect(
    checkpoint: Checkpoint, own: tuple[Family, ...] = (), copy: str = "", *, by_index: bool = False
) -> Inspection:
    """Return what an open checkpoint is; a file without a codebook is described too.

    `own` are rows of the user's that are tried before the family table; `copy` names the one copy to describe.
    `by_index` leaves out what takes the values: digests, health, and how copies stand to each other.

    Raises:
        CheckpointError: a tensor of the VQ encoder cannot be read.
        UsageError: there is no copy of that name.

    """
    why_none = ""
    try:
        held = find_copies(checkpoint, own)
    except NoCodebookError:
        why_none = model.why_no_codebook(checkpoint)
        held = Copies(str(checkpoint.path), (), ())
    copies = held.choose(copy) if copy else held
    summaries = [_summarise(each, _first_of_codec(each, copies), is_read=not by_index) for each in copies.sound]
    used = copies.sound[0].file if copies.sound else checkpoint.state_dicts[0]
    holding = {name.keys for each in held.sound for name in each.names} | {each.name.keys for each in held.unreadable}
    types = Counter(tensor.dtype for tensor in used.tensors.values())
    return Inspection(
        path=str(checkpoint.path),
        format=checkpoint.format,
        header_code=checkpoint.header_code,
        container=used.container,
        other_containers=tuple(
            file.container
            for file in checkpoint.state_dicts
            if file is not used and file.keys not in holding and not _is_figures(file)
        ),
        classes=checkpoint.classes,
        module_classes=checkpoint.module_classes,
        missing_files=checkpoint.missing_files,
        precision=tuple(types.most_common()),
        model=model.identify(used),
        training=model.training(checkpoint),
        record=file_record.record(checkpoint),
        vq_encoder=summaries[0] if summaries else None,
        others=tuple(summaries[1:]),
        unreadable=copies.unreadable,
        why_none=why_none,
    )


def _is_figures(file: Checkpoint) -> bool:
    """Say whether a mapping holds single numbers alone, as a trainer's callback keeps its scores: no model does."""
    return all(math.prod(tensor.shape) == 1 for tensor in file.tensors.values())


def _first_of_codec(copy: Copy, copies: Copies) -> Copy:
    return next(each for each in copies.sound if each.encoder.family is copy.encoder.family)


def _summarise(copy: Copy, first: Copy, *, is_read: bool) -> EncoderSummary:
    checkpoint, encoder = copy.file, copy.encoder
    data = {tensor: checkpoint.read(tensor.tensor) for tensor in encoder.tensors if is_read}
    digests = {
        algorithm: digest.combine(
            encoder,
            {tensor: digest.tensor_digest(tensor, content, algorithm) for tensor, content in data.items()},
            algorithm,
        )
        if is_read
        else _NO_DIGESTS
        for algorithm in digest.ALGORITHMS
    }
    return EncoderSummary(
        copy=copy.name,
        aliases=tuple(map(str, copy.names[1:])),
        against="" if copy is first else first.name,
        relation="" if copy is first or not is_read else relation(first, copy),
        family=encoder.family.name,
        title=encoder.family.title,
        prefix=encoder.prefix,
        is_shadow=encoder.is_shadow,
        structural=encoder.family.structural,
        in_front=encoder.in_front,
        unplaced=encoder.unplaced,
        derivation=encoder.family.derivation,
        books=_books(encoder),
        tensors=tuple(_tensor(encoder, tensor) for tensor in encoder.tensors),
        is_read=is_read,
        codebooks=tuple(
            health.examine(encoder.family, codebook, data, encoder.where(codebook.place))
            for codebook in encoder.codebooks
            if is_read
        ),
        projection_not_finite=sum(
            not_finite(data[tensor], tensor.tensor.dtype)
            for tensor in encoder.projection
            if is_read and tensor.token_relevant
        ),
        f32=digests[digest.F32V1],
        f16=digests[digest.F16V1],
        bf16=digests[digest.BF16V1],
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
