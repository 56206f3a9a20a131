"""What a checkpoint came to against a lock. Plain data, which reports read."""

from dataclasses import dataclass
from typing import Final

from vqcheck.codebook.comparison import FAULTS, CopyPair, EqualCopies, LoneCopy, Verdict, WithLoneCopies
from vqcheck.codebook.copy_verdict import verdict_on
from vqcheck.codebook.digest import Digest
from vqcheck.codebook.file_record import FileKind
from vqcheck.codebook.vq_encoder import InFront
from vqcheck.sanitize import sanitize
from vqcheck.word_enum import WordEnum

NOT_COMPARABLE: Final = "not comparable"
"""Digests do not show whether it is a rounding or a change."""


class LockReason(WordEnum):
    """Why the verdict on one thing that a lock records is what it is, where there is more to say."""

    NOT_IN_LOCK = "not in the lock"
    NOT_IN_FILE = "not in the file"
    LOCK_OF_EXPORT = "the lock was made from an export without it"
    LEFT_OUT_BY_EXPORT = "an export leaves it out"
    LEFT_OUT_BY_LORA = "a LoRA export leaves it to its base model"
    FILE_ROUNDED = "the file holds the locked values rounded"
    LOCK_ROUNDED = "the lock holds the values of the file rounded"
    OTHER_FAMILY = "another codec that stores the same tensors"
    OTHER_CONTENT = "a file of other content"


FAMILY: Final = "family"
TSV: Final = "tsv"
S1: Final = "s1"
"""What a lock records beside tensors."""


@dataclass(frozen=True, slots=True)
class LockVerdict:
    """What became of one thing that a lock records."""

    what: str
    """A tensor's label, or `family`, `tsv` or `s1`."""
    role: str
    """The role of the tensor; for anything else the same as `what`."""
    verdict: str
    judged: bool
    why: LockReason | None = None
    copy: str = ""
    """Which copy or codec of several it is of, or which s1 checkpoint; empty for the first, and where there is one."""
    rounded_to: str = ""
    """The type that one side was rounded to."""
    trained: bool = False
    """The rounded values were there first, so that training moved them by less than a step of their type."""
    infinite: int = 0
    """Values of a projection that rounding made infinite."""
    only_zeros: bool = False
    """Rounding left nothing but zeros of a projection."""
    spoilt: int = 0
    """Codes in use that rounding made zero, infinite or equal to others."""
    recorded: str = ""
    """The family, or the names of the files, that the lock records."""
    found: str = ""
    """The family that the file is read as."""

    @property
    def name(self) -> str:
        """What tells it from everything else in the check."""
        return f"{self.copy} {self.what}".strip()


@dataclass(frozen=True, slots=True)
class CopyCheck:
    """One copy against the lock."""

    verdicts: tuple[LockVerdict, ...]
    recorded: Digest | None
    found: Digest | None
    never_trained: bool

    @property
    def verdict(self) -> Verdict:
        judged = {verdict.verdict for verdict in self.verdicts if verdict.judged}
        if judged & FAULTS:
            return Verdict.CHANGED
        return Verdict.ROUNDED if Verdict.ROUNDED in judged else Verdict.IDENTICAL


@dataclass(frozen=True, slots=True)
class LockCheck(WithLoneCopies):
    """A checkpoint, and what belongs to it, against a lock."""

    lock: str
    """The lock file's path."""
    path: str
    family: str
    kind: FileKind
    """What kind of file the checkpoint shows itself to be."""
    locked_kind: FileKind
    """What kind of file the lock was made from."""
    never_trained: bool
    recorded: Digest | None
    found: Digest | None
    verdicts: tuple[LockVerdict, ...]
    """What became of each tensor, those of further copies behind those of the first; then of `tsv` and `s1`."""
    pairs: tuple[CopyPair, ...]
    """Which recorded copies (A) were verified against which of the file (B)."""
    lone: tuple[LoneCopy, ...]
    """Copies of the lock (A) or of the file (B) without a partner."""
    equal: tuple[EqualCopies, ...]
    """Copies that are the same under names that do not belong together, where names did not say which to verify."""
    in_front: InFront = InFront.STORED
    """What is known of the layers in front of the file's codebook."""
    exported: str | None = None
    """The weights exported at the step of a training file, where somebody looked for them and found them."""
    binds_tokens: bool = False
    binds_s1: bool = False
    """What the lock binds, whether or not it was checked."""

    def __repr__(self) -> str:
        return f"<{self._line}>"

    def _repr_html_(self) -> str:
        from vqcheck.notebook import html_table

        rows = (
            (line.name, line.verdict if line.judged else f"({line.verdict})", line.why or "") for line in self.verdicts
        )
        return html_table(self._line, ("what", "verdict", "note"), rows)

    @property
    def _line(self) -> str:
        faults = [line.name for line in self.verdicts if line.judged and line.verdict in FAULTS]
        named = f" ({', '.join(faults[:3])}{', ...' if len(faults) > 3 else ''})" if faults else ""
        untrained = "; never trained" if self.never_trained else ""
        return sanitize(f"{self.path} against {self.lock}: {self.verdict}{named}{untrained}")

    @property
    def verdict(self) -> Verdict:
        if any(line.verdict == Verdict.CHANGED for line in self.verdicts if line.what in (TSV, S1)):
            return Verdict.CHANGED
        return verdict_on(self.pairs, self.lone, self.equal)

    @property
    def exit_code(self) -> int:
        return self.verdict.exit_code
