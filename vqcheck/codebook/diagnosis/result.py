"""What a diagnosis found. Plain data, which reports read."""

from vqcheck.codebook.diagnosis.evidence import CODE, Evidence
from vqcheck.codebook.model import Training
from vqcheck.quick_dataclass import quick_dataclass
from vqcheck.word_enum import WordEnum


class Certainty(WordEnum):
    """How sure a cause is."""

    CERTAIN = "certain"
    LIKELY = "likely"
    CANNOT_TELL = "cannot tell"


@quick_dataclass(frozen=True, slots=True)
class Cause:
    """One thing that happened."""

    certainty: Certainty
    evidence: Evidence
    codebook: int | None = None
    """Number of the codebook in the family's order; None for what is not about one codebook."""
    head: int | None = None
    """Which head of the codebook; None where all of it is meant."""

    @property
    def code(self) -> str:
        return CODE[type(self.evidence)]


@quick_dataclass(frozen=True, slots=True)
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


@quick_dataclass(frozen=True, slots=True)
class CodeChanges:
    """One codebook of which values changed, code by code; the codes of several heads stand one behind the other."""

    codebook: int
    name: str
    """What tells the codebook from others, such as `acoustic.3`; empty when there is but one."""
    moved: tuple[float, ...]
    """Euclidean distance between A's and B's code, in the codes' own unit; not finite where a value is not."""
    usage: tuple[tuple[float, ...] | None, tuple[float, ...] | None]
    """In A and in B: frames of a training step that each code was nearest to, a running mean. None if not stored."""


@quick_dataclass(frozen=True, slots=True)
class CodeFlips:
    """Frames that had one token with A."""

    code: int
    frames: int
    flipped: int
    mostly: int
    """The token that most of the flipped frames have with B."""


@quick_dataclass(frozen=True, slots=True)
class ItemFlips:
    """Frames of one recording."""

    item: str
    frames: int
    flipped: int


class Severity(WordEnum):
    """How much a drift does to the tokens, by the share of the frames that get another one."""

    NONE = "none"
    """No frame of these recordings."""
    SMALL = "small"
    """Less than 1 %."""
    NOTICEABLE = "noticeable"
    """Less than 10 %."""
    SEVERE = "severe"

    @classmethod
    def of(cls, flipped: int, frames: int) -> "Severity":
        """Return the severity of so many frames with another token."""
        if not flipped:
            return cls.NONE
        return cls.SMALL if 100 * flipped < frames else cls.NOTICEABLE if 10 * flipped < frames else cls.SEVERE


@quick_dataclass(frozen=True, slots=True)
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

    @property
    def severity(self) -> Severity:
        return Severity.of(self.flipped, self.frames)


@quick_dataclass(frozen=True, slots=True)
class Advice:
    """One thing to do."""

    code: str
    text: str
    later: str = ""
    """The file, A or B, that tokens are to be made with; empty for other advice."""


@quick_dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why two VQ encoders differ, what that does, and what to do about it."""

    family: str
    """Name of the codec family, which a file may hold beside others."""
    causes: tuple[Cause, ...]
    displacement: tuple[Displacement, ...]
    flips: TokenFlips | None
    """None where no features were given: the effect on tokens was not measured."""
    training: tuple[Training, Training]
    """What the files themselves, A and B, say of where in training they were written."""
    advice: tuple[Advice, ...]
    codes_moved: bool = True
    """Whether any vector of a lookup differs; sums and counts may move without one."""
    contradicted: bool = False
    """What the files say of their training steps and what their values show exclude each other."""
    codes: tuple[CodeChanges, ...] = ()
    """The codebooks of which values changed, and that have one shape in both files."""
    copy: str = ""
    """Which copy it is of; empty where only one was compared."""

    def of(self, code: str) -> Cause | None:
        """Return the first cause with this code."""
        return next((cause for cause in self.causes if cause.code == code), None)
