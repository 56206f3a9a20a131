"""What a checkpoint came to against a lock. Plain data, which reports read."""

from dataclasses import dataclass
from typing import Final

from vqcheck.codebook.comparison import CHANGED, FAULTS, IDENTICAL, ROUNDED, UNDECIDED, CopyPair, EqualCopies, LoneCopy
from vqcheck.codebook.copy_verdict import verdict_on
from vqcheck.codebook.digest import Digest
from vqcheck.codebook.kind import FileKind

NOT_COMPARABLE: Final = "not comparable"
"""Digests do not tell whether it is a rounding or a change."""


@dataclass(frozen=True, slots=True)
class LockVerdict:
    """What became of one thing a lock records."""

    what: str
    """A tensor's label, `family`, `tsv` or `s1`."""
    verdict: str
    note: str
    judged: bool


@dataclass(frozen=True, slots=True)
class CopyCheck:
    """One copy against the lock."""

    verdicts: tuple[LockVerdict, ...]
    recorded: Digest | None
    found: Digest | None
    never_trained: bool

    @property
    def verdict(self) -> str:
        judged = {verdict.verdict for verdict in self.verdicts if verdict.judged}
        if judged & FAULTS:
            return CHANGED
        return ROUNDED if ROUNDED in judged else IDENTICAL


_BOUND: Final = ("tsv", "s1")
"""What a lock binds beside VQ encoders."""


@dataclass(frozen=True, slots=True)
class LockCheck:
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
    """What became of each tensor, those of further copies with the copy's name in front; then of `tsv` and `s1`."""
    pairs: tuple[CopyPair, ...]
    """Which recorded copies (A) were verified against which of the file (B)."""
    lone: tuple[LoneCopy, ...]
    """Copies of the lock (A) or of the file (B) without a partner."""
    equal: tuple[EqualCopies, ...]
    """Copies that are the same under names that do not belong together, where names did not say which to verify."""

    @property
    def verdict(self) -> str:
        if any(line.verdict == CHANGED for line in self.verdicts if line.what in _BOUND):
            return CHANGED
        return verdict_on(self.pairs, self.lone, self.equal)

    @property
    def exit_code(self) -> int:
        return {CHANGED: 1, UNDECIDED: 2}.get(self.verdict, 0)

    @property
    def contradicting(self) -> tuple[LoneCopy, ...]:
        """Copies that disagree with the one that was verified, and that nothing answers to."""
        return tuple(copy for copy in self.lone if not copy.agrees)
