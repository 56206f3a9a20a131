"""What was put back, or taken out. Plain data, which reports read."""

from dataclasses import dataclass

from vqcheck.codebook.digest import EncoderDigests
from vqcheck.restore.measured import Measurement
from vqcheck.word_enum import WordEnum


class RestoredPart(WordEnum):
    """What of a VQ encoder is put back."""

    ALL = "all"
    CODEBOOK = "codebook"
    PROJECTION = "projection"


class RestoreVerdict(WordEnum):
    RESTORED = "restored"
    UNCHANGED = "unchanged"
    """It was the base's already; the copy has the bytes of the file."""


@dataclass(frozen=True, slots=True)
class RestoredTensor:
    """One tensor that was put back."""

    label: str
    name: str
    dtype: str
    """As both files store it now."""
    rounded_from: str
    """The base's type, where values were rounded to fit; else empty."""
    changed: bool
    """Whether the file held other values before."""


@dataclass(frozen=True, slots=True)
class Restoration:
    """A file with the VQ encoder of another."""

    base: str
    file: str
    out: str
    family: str
    part: RestoredPart
    tensors: tuple[RestoredTensor, ...]
    not_stored: tuple[str, ...]
    """Labels of what the base has and the file leaves out, as exports do."""
    before: EncoderDigests
    after: EncoderDigests
    measurement: Measurement | None = None
    """Which way out is closest to the recordings; None where it was not measured."""

    @property
    def verdict(self) -> RestoreVerdict:
        changed = any(tensor.changed for tensor in self.tensors)
        return RestoreVerdict.RESTORED if changed else RestoreVerdict.UNCHANGED


@dataclass(frozen=True, slots=True)
class Extraction:
    """The VQ encoder of a file in a file of its own."""

    file: str
    out: str
    family: str
    tensors: tuple[tuple[str, str, str], ...]
    """(label, name in the new file, element type)."""
    digests: EncoderDigests
