"""What a diagnosis found. Plain data, which reports read."""

from dataclasses import dataclass
from typing import Final

from vqcheck.codebook.model import Training

CERTAIN: Final = "certain"
LIKELY: Final = "likely"
CANNOT_TELL: Final = "cannot tell"

A_TO_B: Final = "a to b"
B_TO_A: Final = "b to a"
SIBLINGS: Final = "siblings"

EXACT: Final = "exact"
ABOUT: Final = "about"
AT_LEAST: Final = "at least"
UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class NeverTrained:
    """Codes are all zero, or the init flag is 0: the codebook still waits for its first batch."""

    sides: tuple[str, ...]
    """`A`, `B` or both."""


@dataclass(frozen=True, slots=True)
class DecaySteps:
    """How many updates a common factor would be under one decay."""

    decay: float
    steps: float
    whole: bool


@dataclass(frozen=True, slots=True)
class EmaUpdates:
    """Running sums and counts decayed as EMA updates in train mode make them decay."""

    order: str
    """`a to b`, `b to a`, or `siblings`: both come from one codebook, by separate runs."""
    steps: int | None
    """Number of updates; None where only the usual decays' numbers can be given."""
    precision: str
    """How `steps` is to be read: `exact`, `about`, `at least` or `unknown`."""
    estimate: float | None
    """`steps` before rounding."""
    decay: float | None
    """The family's decay for one update; None where its users choose it."""
    unhit: int
    """Codes that no frame was nearest to, by which `steps` is counted."""
    codes: int
    rose: tuple[int, ...]
    """Codes whose count rose, by how much: most frames went to the first."""
    steps_by_decay: tuple[DecaySteps, ...]


@dataclass(frozen=True, slots=True)
class DeadCodes:
    """Codes that were rarely used were overwritten with random frames."""

    codes: tuple[int, ...]
    threshold: float | None
    """A code with a count below this is replaced; None where it is not known."""
    bookkeeping_reset: bool
    """Whether sum and count were set along with the code."""


@dataclass(frozen=True, slots=True)
class Initialised:
    """The codebook was filled anew."""

    how: str
    """`filled` (A waits for its first batch), `emptied` (B does) or `k-means` (B's counts are whole numbers)."""
    frames: int | None
    """Frames that k-means counted."""


@dataclass(frozen=True, slots=True)
class Permuted:
    """The same codes under other numbers."""

    moved: int
    codes: int
    bookkeeping_follows: bool | None
    """Whether sums and counts moved along; None where a file lacks them."""


@dataclass(frozen=True, slots=True)
class Edited:
    """Codes that no update of this family leaves behind."""

    how: str
    """`bookkeeping untouched`, `codes off bookkeeping` or `bookkeeping only`."""
    codes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Unrelated:
    """Two codebooks that have nothing to do with each other."""

    same_number: float | None
    """Share of A's codes whose nearest code in B has the same number; None where the shapes differ."""
    shape_a: tuple[int, ...]
    shape_b: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Projection:
    """The projection in front of the lookup moved."""

    tensors: tuple[str, ...]
    relative: float
    """|B - A| / |A| over all its values."""
    cosine: float
    """Between A's and B's values; near 1 for training, near 0 for an unrelated projection."""


@dataclass(frozen=True, slots=True)
class OtherProjection(Projection):
    """The projections of the two files have nothing to do with each other."""


@dataclass(frozen=True, slots=True)
class Rounding:
    """One side is the other one in a narrower type."""

    dtype: str
    narrower: str
    """`A` or `B`."""


@dataclass(frozen=True, slots=True)
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
    | Unrelated
    | Projection
    | OtherProjection
    | Rounding
    | Unexplained
)

CODE: Final[dict[type, str]] = {
    NeverTrained: "never-trained",
    Initialised: "initialised",
    EmaUpdates: "ema-updates",
    DeadCodes: "dead-codes-replaced",
    Permuted: "permuted",
    Edited: "edited",
    Unrelated: "another-codebook",
    Projection: "projection-trained",
    OtherProjection: "another-projection",
    Rounding: "rounding-only",
    Unexplained: "unexplained",
}
"""Stable codes of the causes, in the order in which they are told."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that happened."""

    certainty: str
    evidence: Evidence
    codebook: int | None = None
    """Number of the codebook in the family's order; None for what is not about one codebook."""

    @property
    def code(self) -> str:
        return CODE[type(self.evidence)]


@dataclass(frozen=True, slots=True)
class Displacement:
    """How far codes moved, in units of half the distance from A's code to its nearest neighbour.

    While every displacement stays below 1, each code of A is nearest to B's of the same number; frames at the border of
    two regions get another token long before that.
    """

    codebook: int
    codes: int
    """Codes measured; left out are those that are not finite or coincide with another code."""
    median: float
    p99: float
    maximum: float
    maximum_code: int
    above_one: int
    retained: int
    """Codes of A whose nearest code in B has the same number."""


@dataclass(frozen=True, slots=True)
class CodeFlips:
    """Frames that had one token with A."""

    code: int
    frames: int
    flipped: int
    mostly: int
    """The token that most of the flipped frames have with B."""


@dataclass(frozen=True, slots=True)
class ItemFlips:
    """Frames of one recording."""

    item: str
    frames: int
    flipped: int


@dataclass(frozen=True, slots=True)
class TokenFlips:
    """What the change does to the tokens of real recordings."""

    folder: str
    items: int
    frames: int
    flipped: int
    codes: tuple[CodeFlips, ...]
    """The most affected codes, most flipped frames first."""
    worst: tuple[ItemFlips, ...]
    """The most affected recordings, greatest share first."""
    skipped: tuple[tuple[str, str], ...]
    """(item, why its features were not used)."""
    borrowed: str
    """The side (`A` or `B`) that lacks a projection and was given the other's; empty when none does."""


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to do."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why two VQ encoders differ, what that does, and what to do about it."""

    causes: tuple[Cause, ...]
    displacement: tuple[Displacement, ...]
    flips: TokenFlips | None
    """None where no features were given: the effect on tokens was not measured."""
    training: tuple[Training, Training]
    """What the files themselves, A and B, say of where in training they were written."""
    advice: tuple[Advice, ...]

    def of(self, code: str) -> Cause | None:
        """Return the first cause with this code."""
        return next((cause for cause in self.causes if cause.code == code), None)
