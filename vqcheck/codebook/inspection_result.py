"""What an inspection of checkpoints finds: each file, its VQ encoders with digests and health, and the worst of all."""

from dataclasses import dataclass
from typing import Final

from vqcheck.codebook.copies import Unreadable
from vqcheck.codebook.digest import EncoderDigests
from vqcheck.codebook.family import Derivation
from vqcheck.codebook.file_record import FileRecord
from vqcheck.codebook.health import AILMENTS, Condition, Health
from vqcheck.codebook.model import Model, Training
from vqcheck.codebook.vq_encoder import InFront

UNCHECKED: Final = (Condition.COULD_NOT_CHECK, Condition.NO_CODEBOOK, Condition.UNREADABLE_COPY)
"""Verdicts on a file that was not judged, the worst first."""


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
