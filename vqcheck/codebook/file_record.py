"""Tells what kind of file a checkpoint is (base, training file, export of a run), and which of two files is the later.

Whether float32 values are what a float16 file was rounded from, or what training made of it, no value says: only what
the files say of themselves does.
"""

import os
import re
from typing import TYPE_CHECKING, Final

from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook import model
from vqcheck.codebook.family import Family
from vqcheck.codebook.vq_encoder import is_lora
from vqcheck.language import tr
from vqcheck.quick_dataclass import quick_dataclass
from vqcheck.word_enum import WordEnum

if TYPE_CHECKING:
    from vqcheck.codebook.rounding import Rounded


class FileKind(WordEnum):
    """What a file shows itself to be."""

    BASE = "base"
    """A model to start from: a published base, or weights in GPT-SoVITS's layout without a step record."""
    TRAINING = "training"
    """What a training run saves to resume from: it holds an optimizer or `iteration`, or is named G_*."""
    EXPORT = "export"
    """Weights that a run wrote for use: `info`, an overwritten header, LoRA keys, or an export's name."""
    STEP = "step"
    """Weights alone, whose name or record says at which step of a run they were written."""
    UNKNOWN = "unknown"
    """Weights that say nothing of where they come from."""


class Order(WordEnum):
    """Which of two files came first."""

    A_FIRST = "A first"
    B_FIRST = "B first"
    UNKNOWN = "unknown"

    @property
    def turned(self) -> "Order":
        """The order of the same two files named the other way round."""
        return {Order.A_FIRST: Order.B_FIRST, Order.B_FIRST: Order.A_FIRST}.get(self, self)


class RoundingReading(WordEnum):
    """How it came about that one of two tensors is the other's rounding."""

    ROUNDED = "rounded"
    """The narrower one was made from the wider one, or both from one source."""
    TRAINED = "trained"
    """The narrower one was there first, and training moved the wider one by less than a step of it."""
    UNDECIDED = "undecided"
    """One or the other: nothing says which was there first."""


@quick_dataclass(frozen=True, slots=True)
class FileRecord:
    """What one file says of itself."""

    kind: FileKind
    epoch: int | None = None
    steps: int | None = None
    published: bool = False
    """It is one of the published base models, which nobody exported from a file of his own."""
    leaves_out: str = ""
    """What shows that the file may leave parts of the VQ encoder out: `LoRA export`, `export`, or empty."""

    @property
    def is_lora(self) -> bool:
        return self.leaves_out == _LORA

    @property
    def why_left_out(self) -> str:
        """Why the file need not store everything, for people."""
        if self.leaves_out == _LORA:
            return tr("a LoRA export leaves it to its base model")
        return tr("an export leaves it out")


@quick_dataclass(frozen=True, slots=True)
class FileOrder:
    """Two files, and which came first: by what they say themselves, or because the caller knows it."""

    a: FileRecord = FileRecord(FileKind.UNKNOWN)
    b: FileRecord = FileRecord(FileKind.UNKNOWN)
    order: Order = Order.UNKNOWN
    both_ways: bool = False
    """Some tensors of A are B's rounding and others the other way round: no order makes all of them roundings."""

    def reading(self, rounded: "Rounded") -> RoundingReading:
        """Say what a rounding means: where the wider file is the later one, training moved its values.

        Two narrow files may be roundings of one source in any order, unless training went on with the wider one.
        """
        if not rounded.narrower:
            return RoundingReading.ROUNDED
        wide = self.b if rounded.narrower == "A" else self.a
        narrow_first = self.order is (Order.A_FIRST if rounded.narrower == "A" else Order.B_FIRST)
        of_one_source = rounded.wider_is_narrow and (
            self.order is Order.UNKNOWN or wide.kind in (FileKind.EXPORT, FileKind.STEP)
        )
        if of_one_source:
            return RoundingReading.ROUNDED
        if narrow_first or (self.order is Order.UNKNOWN and self.both_ways):
            return RoundingReading.TRAINED
        return RoundingReading.UNDECIDED if self.order is Order.UNKNOWN else RoundingReading.ROUNDED


_EXPORT_NAME: Final = re.compile(r".*_e(\d{1,9})_s(\d{1,12})(?:_l\d{1,9})?")
_TRAINING_NAME: Final = re.compile(r"G_(\d{1,12})")
_STEP_NAME: Final = re.compile(
    r"(?:.*[^a-z])?(?:global_?steps?|steps?|iter(?:ation)?s?)[=_-]?(\d{1,12})(?!\d).*", re.IGNORECASE
)
_NUMBERED_NAME: Final = re.compile(r"(?:checkpoint|ckpt)[_-](\d{1,12})", re.IGNORECASE)
_HUB_NAME: Final = re.compile(r"(?:pytorch_)?model(?:[._].*)?")
_EPOCH_NAME: Final = re.compile(r"(?:.*[^a-z])?epochs?[=_-]?(\d{1,9})(?!\d).*", re.IGNORECASE)
_STEP_KEYS: Final = ("global_step", "step", "steps", "epoch")
_RUN_INFO: Final = re.compile(r"\d{1,9}epoch|\d{1,12}iteration|-e\d{1,9}$")


_LORA: Final = "LoRA export"


def may_leave_out(record: FileRecord, family: Family, role: str) -> bool:
    """Say whether a file of this kind may lack a role of its family and still be whole."""
    in_lora = record.leaves_out == _LORA and role in family.optional_in_lora
    return in_lora or (bool(record.leaves_out) and role in family.optional)


def record(checkpoint: Checkpoint) -> FileRecord:
    """Return what kind of file an open checkpoint is. What it holds counts before what it is called."""
    information = checkpoint.information
    training = model.training(checkpoint)
    lora = is_lora(checkpoint.tensors)
    info = information.get("info")
    stem = os.path.splitext(os.path.basename(checkpoint.path))[0]
    epoch, steps, named = _by_name(stem)
    if named is FileKind.UNKNOWN and is_hub_name(stem):
        # Trainers call the file always the same, and the folder like the step.
        epoch, steps, named = _by_name(os.path.basename(os.path.dirname(os.path.abspath(checkpoint.path))))
    # What the file itself says of steps is better than its name.
    epoch = epoch if training.epoch is None else training.epoch
    steps = steps if training.steps is None else training.steps
    if checkpoint.has_optimizer or "iteration" in information:
        return FileRecord(FileKind.TRAINING, epoch, steps)
    if model.is_published_base(checkpoint):
        return FileRecord(FileKind.BASE, published=True)
    exported = bool(checkpoint.header_code) or (isinstance(info, str) and bool(_RUN_INFO.search(info)))
    if lora or exported:
        return FileRecord(FileKind.EXPORT, epoch, steps, leaves_out=_LORA if lora else "export")
    if named in (FileKind.TRAINING, FileKind.EXPORT):
        return FileRecord(named, epoch, steps)
    if named is FileKind.STEP or any(_is_number(information.get(key)) for key in _STEP_KEYS):
        return FileRecord(FileKind.STEP, epoch, steps)
    is_base = checkpoint.container == "weight"
    return FileRecord(FileKind.BASE if is_base else FileKind.UNKNOWN)


def order(a: FileRecord, b: FileRecord) -> Order:
    """Return which of two files came first, as far as they say it.

    A published base comes before everything, and a file of a run after one without a step record, from which it
    started. What is exported from a run was made from that run's training file. Of two files of one kind the one with
    fewer steps came first.
    """
    rank_a, rank_b = (-1 if each.published else _RANK[each.kind] for each in (a, b))
    if rank_a != rank_b:
        return Order.A_FIRST if rank_a < rank_b else Order.B_FIRST
    for own, other in ((a.steps, b.steps), (a.epoch, b.epoch)):
        if own is not None and other is not None and own != other:
            return Order.A_FIRST if own < other else Order.B_FIRST
    return Order.UNKNOWN


_RANK: Final = {FileKind.UNKNOWN: 0, FileKind.BASE: 0, FileKind.TRAINING: 1, FileKind.STEP: 2, FileKind.EXPORT: 2}


def _by_name(stem: str) -> tuple[int | None, int | None, FileKind]:
    """Return (epoch, steps, kind) as far as a file's name without its ending says them."""
    if match := _EXPORT_NAME.fullmatch(stem):
        return int(match[1]), int(match[2]), FileKind.EXPORT
    if _TRAINING_NAME.fullmatch(stem):
        # The number itself is read with what the file says: upstream has a constant for 'latest only'.
        return None, None, FileKind.TRAINING
    step = _STEP_NAME.fullmatch(stem) or _NUMBERED_NAME.fullmatch(stem)
    epoch = _EPOCH_NAME.fullmatch(stem)
    if step or epoch:
        return int(epoch[1]) if epoch else None, int(step[1]) if step else None, FileKind.STEP
    return None, None, FileKind.UNKNOWN


def is_hub_name(name: str) -> bool:
    """Say whether a file or folder is called as hubs and trainers call each of their models."""
    return _HUB_NAME.fullmatch(name) is not None


def names_a_step(name: str) -> bool:
    """Say whether a file or folder has a name that trainers give to what they save at a step."""
    return _by_name(os.path.splitext(name)[0])[2] is FileKind.STEP


def _is_number(value: object) -> bool:
    return type(value) is int or (isinstance(value, str) and value.isdecimal())
