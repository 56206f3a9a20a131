"""The kinds of evidence, one type for each cause. Plain data, which reports read."""

from dataclasses import dataclass
from typing import Final

from vqcheck.quick_dataclass import quick_dataclass
from vqcheck.word_enum import WordEnum


class UpdateOrder(WordEnum):
    """Which of two files is later; siblings come from one codebook, by separate runs."""

    A_TO_B = "a to b"
    B_TO_A = "b to a"
    SIBLINGS = "siblings"
    UNKNOWN = "unknown"


class StepPrecision(WordEnum):
    """How a number of updates is to be read."""

    EXACT = "exact"
    ABOUT = "about"
    AT_LEAST = "at least"
    UNKNOWN = "unknown"


class EditTrace(WordEnum):
    """What shows that codes were edited."""

    BOOKKEEPING_UNTOUCHED = "bookkeeping untouched"
    CODES_OFF_BOOKKEEPING = "codes off bookkeeping"
    BOOKKEEPING_ONLY = "bookkeeping only"
    COUNTS_UNTOUCHED = "counts untouched"
    SINGLE_ROWS = "single rows"


class MergeKind(WordEnum):
    """How a book was put together; ranks are copies that were averaged during training."""

    AVERAGE = "average"
    RANKS = "ranks"
    ROWS = "rows"


class ProjectionChange(WordEnum):
    """How a projection moved: as training does, by an edit, or by a few units in the last place."""

    MOVED = "moved"
    SCALED = "scaled"
    SINGLE_ROWS = "single rows"
    ROUNDING = "rounding"


@quick_dataclass(frozen=True, slots=True)
class NeverTrained:
    """Codes are all zero, or the init flag is 0: the codebook still waits for its first batch."""

    sides: tuple[str, ...]


@quick_dataclass(frozen=True, slots=True)
class DecaySteps:
    """How many updates a common factor would be under one decay."""

    decay: float
    steps: float
    whole: bool


@quick_dataclass(frozen=True, slots=True)
class EmaUpdates:
    """Running sums and counts decayed as EMA updates in train mode make them decay."""

    order: UpdateOrder
    steps: int | None
    """Number of updates; None where only the usual decays' numbers can be given."""
    precision: StepPrecision
    estimate: float | None
    """`steps` before rounding."""
    decay: float | None
    """The family's decay for one update; None where its users choose it."""
    unhit: int
    """Codes that no frame was nearest to and that agree on the number; the padding's code is not counted."""
    codes: int
    rose: tuple[int, ...]
    """Codes whose count rose, by how much: most frames went to the first."""
    steps_by_decay: tuple[DecaySteps, ...]


@quick_dataclass(frozen=True, slots=True)
class DeadCodes:
    """Codes that were rarely used were overwritten with random frames."""

    codes: tuple[int, ...]
    threshold: float | None
    """A code with a count below this is replaced; None where it is not known."""
    bookkeeping_reset: bool
    """Whether sum and count were set along with the code."""


@quick_dataclass(frozen=True, slots=True)
class Initialised:
    """The codebook was filled anew."""

    how: str
    """`filled` (A waits for its first batch), `emptied` (B does) or `k-means` (B's counts are whole numbers)."""
    frames: int | None


@quick_dataclass(frozen=True, slots=True)
class Permuted:
    """The same codes under other numbers."""

    moved: int
    codes: int
    bookkeeping_follows: bool | None
    """Whether sums and counts moved along; None where a file lacks them."""


@quick_dataclass(frozen=True, slots=True)
class Edited:
    """Codes that no update of this family leaves behind."""

    how: EditTrace
    codes: tuple[int, ...]


@quick_dataclass(frozen=True, slots=True)
class Scaled:
    """Every value was multiplied by one and the same number; None for what was not."""

    codes: float | None
    sums: float | None
    counts: float | None


@quick_dataclass(frozen=True, slots=True)
class Merged:
    """B is put together from A and another file, or from several others."""

    how: MergeKind
    weight: float | None
    """The other file's share in an average with A; None where it is not known."""
    codes: tuple[int, ...]
    """The codes that show it."""


@quick_dataclass(frozen=True, slots=True)
class ZeroSigns:
    """Only signs of zero or NaN payloads differ, which no lookup sees."""


@quick_dataclass(frozen=True, slots=True)
class Unrelated:
    """Two codebooks that have nothing to do with each other."""

    same_number: float
    """Share of A's codes whose nearest code in B has the same number."""


@quick_dataclass(frozen=True, slots=True)
class OtherShape:
    """Codebooks of two shapes, and what is the same in both, over the channels that both have."""

    shape_a: tuple[int, ...]
    shape_b: tuple[int, ...]
    part: str
    """`A` or `B`, the smaller one, if each of its codes is in the other one, too; empty otherwise."""
    shared: int
    """Codes of the smaller one that are in the other one, too."""
    in_place: bool
    """They all stand under the same number there."""
    rounded_to: str
    """The type that one of them was rounded to; empty where they are the same to the last bit."""


@dataclass(frozen=True, slots=True)
class ProjectionMoved:
    """The projection in front of the lookup moved."""

    tensors: tuple[str, ...]
    relative: float
    """|B - A| / |A| over all its values."""
    cosine: float
    """Between A's and B's values; near 1 for training, near 0 for an unrelated projection."""
    how: ProjectionChange = ProjectionChange.MOVED


@dataclass(frozen=True, slots=True)
class OtherProjection(ProjectionMoved):
    """The projections of the two files have nothing to do with each other."""


@dataclass(frozen=True, slots=True)
class ProjectionBehind(ProjectionMoved):
    """A projection behind one lookup moved, whose result is taken off the features of a later one."""


@quick_dataclass(frozen=True, slots=True)
class MissingBooks:
    """One file, `A` or `B`, lacks codebooks that the other one stores."""

    side: str
    codebooks: tuple[int, ...]
    """Their numbers in the family's order."""
    stored: int
    """Codebooks of the other file."""


@quick_dataclass(frozen=True, slots=True)
class Rounding:
    """One side is the other one in a narrower type, or both are one source in two narrow types."""

    dtype: str
    """Two, joined with `and`, where one source was rounded to both."""
    narrower: str
    """`A` or `B`; empty where neither is the other's rounding."""
    undecided: bool = False
    """Nothing says which was there first, so the wider one may as well be trained by less than a step."""


@quick_dataclass(frozen=True, slots=True)
class WithinAStep:
    """One side is rounded and was there first: training moved the values by less than a step of its type."""

    dtype: str
    narrower: str
    """`A` or `B`, the earlier file; empty where some tensors are rounded in one file and others in the other."""
    tensors: tuple[str, ...]
    largest: float


@quick_dataclass(frozen=True, slots=True)
class LostByRounding:
    """A rounding left codes in use without a meaning of their own."""

    dtype: str
    side: str
    zero: tuple[int, ...]
    not_finite: tuple[int, ...]
    equal: tuple[int, ...]


@quick_dataclass(frozen=True, slots=True)
class LastPlaces:
    """Values everywhere differ in their last places alone, as after a merge of equals or another summation order."""

    ulps: int
    tensors: tuple[str, ...]


@quick_dataclass(frozen=True, slots=True)
class NotFinite:
    """A file holds NaN or infinity where the other one has numbers: it is damaged, or its training diverged."""

    sides: tuple[str, ...]


@quick_dataclass(frozen=True, slots=True)
class Unexplained:
    """The codes moved, and nothing in the files tells why."""

    why: str


Evidence = (
    NeverTrained
    | EmaUpdates
    | DeadCodes
    | Initialised
    | Permuted
    | Edited
    | Scaled
    | Merged
    | ZeroSigns
    | Unrelated
    | OtherShape
    | ProjectionMoved
    | OtherProjection
    | ProjectionBehind
    | MissingBooks
    | Rounding
    | WithinAStep
    | LostByRounding
    | LastPlaces
    | NotFinite
    | Unexplained
)

CODE: Final[dict[type, str]] = {
    NeverTrained: "never-trained",
    NotFinite: "not-finite",
    Initialised: "initialised",
    EmaUpdates: "ema-updates",
    DeadCodes: "dead-codes-replaced",
    Permuted: "permuted",
    Merged: "merged",
    Scaled: "scaled",
    Edited: "edited",
    Unrelated: "another-codebook",
    OtherShape: "other-shape",
    ProjectionMoved: "projection-trained",
    OtherProjection: "another-projection",
    ProjectionBehind: "output-projection-moved",
    MissingBooks: "codebooks-missing",
    LostByRounding: "lost-by-rounding",
    WithinAStep: "moved-within-a-step",
    LastPlaces: "last-places",
    Rounding: "rounding-only",
    ZeroSigns: "zero-signs",
    Unexplained: "unexplained",
}
"""Stable codes of the causes, in the order in which they are told."""
