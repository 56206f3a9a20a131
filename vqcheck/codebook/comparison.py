"""What a comparison of two VQ encoders found. Plain data, which reports read."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from vqcheck.codebook.digest import Digest, EncoderDigests
from vqcheck.codebook.family import BOOKKEEPING, Role
from vqcheck.codebook.file_record import FileOrder, RoundingReading
from vqcheck.codebook.vq_encoder import InFront
from vqcheck.language import listed, tr
from vqcheck.quick_dataclass import quick_dataclass
from vqcheck.sanitize import sanitize
from vqcheck.word_enum import VerdictEnum, WordEnum

if TYPE_CHECKING:
    from vqcheck.codebook.diagnosis.result import Diagnosis
    from vqcheck.codebook.health import Condition


class Verdict(VerdictEnum):
    """On a tensor, a copy, or the whole comparison."""

    IDENTICAL = "identical", 0
    ROUNDED = "rounded", 0
    WITHIN_ULPS = "equal within n ulp", 0
    """Calculated from values that differ, and yet equal but for the last places; the note says how many."""
    NOT_STORED = "not stored", 0
    CHANGED = "changed", 1
    MISSING = "missing", 1
    OTHER_SHAPE = "other shape", 1
    UNDECIDED = "undecided", 2
    """The pairs agree, but a copy without a partner disagrees with them."""
    NOISE = "averaging noise", 0
    """A copy that is a few units in the last place off another one of its file, as an average of equals is."""
    NO_PARTNER = "in one file only", 2
    """A codec of which the other file holds no copy."""
    UNREADABLE = "cannot be read", 2


class Scope(WordEnum):
    """What is judged."""

    ALL = "all"
    TOKENS = "tokens"
    """Only what decides tokens."""


EFFECTIVE: Final = "effective"
"""Part of codes that are calculated, where the stored ones have none."""

FAULTS: Final = frozenset({Verdict.CHANGED, Verdict.MISSING, Verdict.OTHER_SHAPE})
"""Verdicts on a tensor that make the whole comparison `changed`."""


def is_judged(role: str, scope: str, *, token_relevant: bool) -> bool:
    """Say whether a tensor counts in the verdict; the others are only shown."""
    return scope != Scope.TOKENS if role in BOOKKEEPING else token_relevant


@quick_dataclass(frozen=True, slots=True)
class Change:
    """How far two tensors of one shape are apart; a row is a code, or an output channel of a projection."""

    rows_changed: int
    rows: int
    max_abs: float
    """Greatest absolute difference over finite pairs; 0 when there is none."""
    max_abs_index: tuple[int, ...]
    max_rel: float
    """Greatest |a - b| / |a| over finite pairs with a != 0; 0 when there is none."""
    max_rel_index: tuple[int, ...]
    not_finite: int
    """Values that changed and are NaN or infinite on either side."""


@quick_dataclass(frozen=True, slots=True)
class TensorDiff:
    """One tensor on both sides. A side that lacks it has no name; calculated values have no digest."""

    label: str
    role: Role
    verdict: Verdict
    judged: bool
    """Whether it counts in the verdict: not outside the chosen scope, nor where no lookup depends on it."""
    note: str
    a_name: str
    b_name: str
    a_dtype: str
    b_dtype: str
    a_shape: tuple[int, ...]
    b_shape: tuple[int, ...]
    a_digest: Digest | None
    b_digest: Digest | None
    change: Change | None
    rounded_to: str = ""
    """The type to which one side is the other's rounding, whatever the verdict; empty where neither is."""
    narrower: str = ""
    """`A` or `B`, the side that is the other's rounding; empty where neither is, though one source may be both's."""
    reading: RoundingReading | None = None
    """How it came to that; None where neither side is the other's rounding."""


@quick_dataclass(frozen=True, slots=True)
class RoundingLoss:
    """What rounding destroyed in one codebook; codes of several heads stand one behind the other."""

    place: str
    """What tells the codebook from others, such as `acoustic.3`; empty when there is but one."""
    side: str
    """`A` or `B`: the file that was rounded."""
    zero: tuple[int, ...]
    """Codes in use of which nothing is left but zeros."""
    not_finite: tuple[int, ...]
    """Codes in use that became NaN or infinite."""
    equal: tuple[int, ...]
    """Codes in use that became equal to another code in use."""
    unused: int
    """Codes not in use that went the same ways."""
    overflowed: int
    """Counts that are not finite any more, or stand at the type's greatest value."""
    underflowed: int
    """Counts that became zero."""

    @property
    def of_use(self) -> int:
        """How many codes in use were lost; then the file is changed, and else it is only worth a remark."""
        return len({*self.zero, *self.not_finite, *self.equal})


@quick_dataclass(frozen=True, slots=True)
class ComparedFile:
    """One of the two files."""

    path: str
    family: str
    prefix: str
    never_trained: bool
    digests: EncoderDigests
    ailments: tuple["Condition", ...] = ()
    """What makes its codebook unfit for use though it was trained: `not finite`, `broken`, `collapsed`."""
    in_front: InFront = InFront.STORED
    """What is known of the layers in front of the codebook: `stored` (or there are none), `not stored` or `unknown`."""
    unplaced: str = ""
    """A module beside the codebook that may be in front of it; empty where nothing of the kind is there."""
    exported: str | None = None
    """The weights exported at the step of a training file, where somebody looked for them and found them."""
    missing_files: tuple[str, ...] = ()
    """Files that the checkpoint refers to and that are not there; nothing of the VQ encoder is in them."""
    module_classes: tuple[str, ...] = ()
    """Classes of modules that were saved whole: their code decides what Python makes of the stored values."""


@quick_dataclass(frozen=True, slots=True)
class CopyPair:
    """A copy of A and the copy of B that it was compared with."""

    family: str
    a: str
    """What the copy is called in A."""
    b: str
    verdict: Verdict
    guessed: bool
    """Whether other copies of the files could as well belong together."""

    @property
    def name(self) -> str:
        """What tells the pair from others; a lock of one copy has no name for it."""
        return " and ".join(dict.fromkeys(filter(None, (self.a, self.b))))


def titles(pairs: Sequence[CopyPair]) -> list[str]:
    """Return what tells the tensors of each pair from those of others: its codec or its copy; the first has none."""
    families = [pair.family for pair in pairs]
    others = [pair.family if families.count(pair.family) == 1 else pair.name for pair in pairs[1:]]
    return ["", *others]


@quick_dataclass(frozen=True, slots=True)
class LoneCopy:
    """A copy to which none of the other file's answers, and how it stands to the one that was judged instead."""

    side: str
    """`A` or `B`."""
    family: str
    name: str
    judged: str
    """The copy of the same file that was judged; empty where none of this codec was."""
    verdict: Verdict
    """`identical`, `equal within n ulp`, `averaging noise`, `changed`, `in one file only` or `cannot be read`."""
    why: str = ""
    """Why it cannot be read."""
    equal: str = ""
    """A copy of the other file that is the same and has no partner either."""

    @property
    def agrees(self) -> bool:
        return bool(self.equal) or self.verdict in (Verdict.IDENTICAL, Verdict.WITHIN_ULPS, Verdict.NOISE)


@quick_dataclass(frozen=True, slots=True)
class EqualCopies:
    """A copy of A and one of B that are the same, though they do not belong together by name."""

    a: str
    b: str


class WithLoneCopies:
    """A result that may have left copies of its files without a partner."""

    __slots__ = ()

    lone: tuple[LoneCopy, ...]

    @property
    def contradicting(self) -> tuple[LoneCopy, ...]:
        """Copies that disagree with the one that was judged, and that no other file's copy answers to."""
        return tuple(copy for copy in self.lone if not copy.agrees)

    def contradiction(self, judged: str) -> str:
        """Return the clause that explains why a result is undecided; `judged` is what other copies disagree with."""
        names = listed([f"'{copy.name}'" for copy in self.contradicting], last="")
        if not names:
            return tr("copies contradict {judged}: it is not known which of them is meant", judged=judged)
        return tr("copies contradict {judged}: {names}", judged=judged, names=names)


@dataclass(frozen=True, slots=True, repr=False)
class Comparison(WithLoneCopies):
    """Two VQ encoders, tensor by tensor, and the verdict on the whole."""

    a: ComparedFile
    b: ComparedFile
    scope: Scope
    """`all`, or `tokens` to leave bookkeeping out."""
    tensors: tuple[TensorDiff, ...]
    verdict: Verdict
    """`identical`, `equal within n ulp`, `rounded`, `changed` or `undecided`."""
    pairs: tuple[CopyPair, ...] = ()
    """Which copies were compared; the first pair is the one that the sides describe."""
    lone: tuple[LoneCopy, ...] = ()
    """Copies without a partner."""
    equal: tuple[EqualCopies, ...] = ()
    """Copies that are the same in both files under names that do not belong together."""
    codecs: tuple[str, ...] = ()
    """Families that both files hold and that were compared; the first is the one that the sides describe."""
    diagnosis: "Diagnosis | None" = None
    """Why they differ and what it does, of the first codec that does; None where none does and all were trained."""
    further: "tuple[Diagnosis, ...]" = ()
    """The same of every other codec that differs."""
    order: FileOrder = field(default_factory=FileOrder)
    """What kinds of files these are, and which came first."""
    losses: tuple[RoundingLoss, ...] = ()
    """What a rounding destroyed."""
    one_file: bool = False
    """Whether both names lead to one file, which was compared with itself."""

    def __repr__(self) -> str:
        return f"<{self._line}>"

    def _repr_html_(self) -> str:
        from vqcheck.notebook import html_table

        rows = (
            (
                each.label,
                each.verdict.value if each.judged else f"({each.verdict.value})",
                f"{each.change.rows_changed} of {each.change.rows}" if each.change else "",
                f"{each.change.max_abs:.3g}" if each.change else "",
                each.note,
            )
            for each in self.tensors
        )
        return html_table(self._line, ("tensor", "verdict", "rows changed", "greatest change", "note"), rows)

    @property
    def _line(self) -> str:
        faults = [each.label for each in self.tensors if each.judged and each.verdict in FAULTS]
        named = f" ({', '.join(faults[:3])}{', ...' if len(faults) > 3 else ''})" if faults else ""
        untrained = "; never trained" if self.never_trained else ""
        return sanitize(f"{self.a.path} and {self.b.path}: {self.verdict.value}{named}{untrained}")

    @property
    def exit_code(self) -> int:
        return self.verdict.exit_code

    @property
    def not_stored(self) -> tuple[TensorDiff, ...]:
        """Tensors that one file leaves out where its family allows that."""
        return tuple(diff for diff in self.tensors if diff.verdict == Verdict.NOT_STORED)

    @property
    def undecided(self) -> tuple[TensorDiff, ...]:
        """Judged tensors that are roundings, or were trained by less than a step: nothing says which came first."""
        return tuple(diff for diff in self.tensors if diff.judged and diff.reading is RoundingReading.UNDECIDED)

    @property
    def never_trained(self) -> tuple[ComparedFile, ...]:
        """The sides whose codebook still waits for its first batch."""
        return tuple(side for side in (self.a, self.b) if side.never_trained)
