"""What a comparison of two VQ encoders found. Plain data, which reports read."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from vqcheck.codebook.digest import Digest, EncoderDigests
from vqcheck.codebook.family import BOOKKEEPING, OUTPUT_PROJ
from vqcheck.codebook.kind import FileOrder, RoundingReading

if TYPE_CHECKING:
    from vqcheck.codebook.diagnosis.result import Diagnosis

IDENTICAL: Final = "identical"
ROUNDED: Final = "rounded"
WITHIN_ULPS: Final = "equal within n ulp"
"""Calculated from values that differ, and yet equal but for the last places; the note says how many."""
NOT_STORED: Final = "not stored"
CHANGED: Final = "changed"
MISSING: Final = "missing"
OTHER_SHAPE: Final = "other shape"

ALL: Final = "all"
TOKENS: Final = "tokens"
SCOPES: Final = (ALL, TOKENS)
"""What may be judged: everything, or only what decides tokens."""

FAULTS: Final = frozenset({CHANGED, MISSING, OTHER_SHAPE})
"""Verdicts on a tensor that make the whole comparison `changed`."""


def is_judged(role: str, scope: str) -> bool:
    """Say whether a tensor of this role counts in the verdict; the others are only shown."""
    return role != OUTPUT_PROJ and not (scope == TOKENS and role in BOOKKEEPING)


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class TensorDiff:
    """One tensor on both sides. A side that lacks it has no name; calculated values have no digest."""

    label: str
    role: str
    verdict: str
    judged: bool
    """Whether it counts in the verdict: not outside the chosen scope, never for output projections."""
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


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two files."""

    path: str
    family: str
    prefix: str
    never_trained: bool
    not_judged: tuple[str, ...]
    """Further VQ encoders of the file that the comparison does not cover."""
    digests: EncoderDigests
    ailments: tuple[str, ...] = ()
    """What makes its codebook unfit for use though it was trained: `not finite`, `broken`, `collapsed`."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two VQ encoders, tensor by tensor, and the verdict on the whole."""

    a: Side
    b: Side
    scope: str
    """`all`, or `tokens` to leave bookkeeping out."""
    tensors: tuple[TensorDiff, ...]
    verdict: str
    """`identical`, `equal within n ulp`, `rounded` or `changed`."""
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

    @property
    def exit_code(self) -> int:
        return int(self.verdict == CHANGED)

    @property
    def not_stored(self) -> tuple[TensorDiff, ...]:
        """Tensors that one file leaves out where its family allows that."""
        return tuple(diff for diff in self.tensors if diff.verdict == NOT_STORED)

    @property
    def undecided(self) -> tuple[TensorDiff, ...]:
        """Judged tensors that are roundings, or were trained by less than a step: nothing says which came first."""
        return tuple(diff for diff in self.tensors if diff.judged and diff.reading is RoundingReading.UNDECIDED)

    @property
    def moved_within_a_step(self) -> tuple[TensorDiff, ...]:
        """Judged tensors that one file holds rounded, and that training moved by less than a step in the later one."""
        return tuple(diff for diff in self.tensors if diff.judged and diff.reading is RoundingReading.TRAINED)

    @property
    def never_trained(self) -> tuple[Side, ...]:
        """The sides whose codebook still waits for its first batch."""
        return tuple(side for side in (self.a, self.b) if side.never_trained)
