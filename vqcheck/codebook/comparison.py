"""What a comparison of two VQ encoders found. Plain data, which reports read."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vqcheck.codebook.digest import Digest, EncoderDigests
from vqcheck.codebook.family import BOOKKEEPING, OUTPUT_PROJ

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
    one_file: bool = False
    """Whether both names lead to one file, which was compared with itself."""

    @property
    def exit_code(self) -> int:
        return int(self.verdict == CHANGED)

    @property
    def not_stored(self) -> tuple[TensorDiff, ...]:
        """Tensors that one file leaves out where its family allows that."""
        return tuple(diff for diff in self.tensors if diff.verdict == NOT_STORED)

    @property
    def never_trained(self) -> tuple[Side, ...]:
        """The sides whose codebook still waits for its first batch."""
        return tuple(side for side in (self.a, self.b) if side.never_trained)
