"""What a token audit found. Plain data, without numpy."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from vqcheck.audit.binomial import upper_limit
from vqcheck.codebook.digest import EncoderDigests
from vqcheck.word_enum import VerdictEnum, WordEnum

RISK: Final = 1e-4
"""Chance of a right tsv to have more near-ties than the limit allows."""
UNDECIDED_SHARE: Final = 0.01
"""Share of frames that may be undecided before the whole audit is."""


HALF_OF_THE_ITEMS: Final = 0.5
"""Least share of the items that have features, where nobody asks for more."""


class TokenVerdict(VerdictEnum):
    CONSISTENT = "consistent", 0
    INCONSISTENT = "inconsistent", 1
    INCONCLUSIVE = "inconclusive", 2


class TokenPrecision(WordEnum):
    """In which precision tokens were extracted, as far as they show it."""

    FLOAT32 = "float32"
    HALF = "float16"
    EITHER = "either"
    """Both precisions explain the tokens equally well."""
    MIXED = "mixed"


_GROUPED: Final = (TokenPrecision.FLOAT32, TokenPrecision.HALF)


@dataclass(frozen=True, slots=True)
class FrameCounts:
    """The frames of one item. `explained` and what follows it add up to `frames`."""

    frames: int
    explained: int
    """The recorded token is the one derived in the item's precision."""
    near_ties: int
    """It is not, but rounding can explain it."""
    mismatches: int
    """Nothing can."""
    undecided: int
    """Half precision says nothing there: it overflows, or is coarse."""
    precision: TokenPrecision
    """`FLOAT32`, `HALF` or `EITHER`: what explains more of the item's tokens"""
    coarse: int = 0
    """The undecided ones where nothing overflows: half precision cannot tell apart more than a tenth of the codes"""
    beyond: int = 0
    """The near-ties of a float32 item that float32 rounding does not explain, only half precision's"""
    off_float32: int = 0
    """Decided frames whose recorded token is another one than in float32"""
    off_half: int = 0
    """The same in half precision, where the second of two equally near codes is another one, too"""


@dataclass(frozen=True, slots=True)
class ItemAudit:
    """One row of the tsv."""

    item: str
    line: str
    """`file:number`"""
    recorded: int
    """Tokens in the tsv"""
    derived: int
    """Tokens that the features give: their length divided by the projection's stride, rounded down"""
    counts: FrameCounts
    """Of the frames that have both"""

    @property
    def off_by_one(self) -> bool:
        """One token more or fewer than the features give; harmless, so reported only."""
        return abs(self.recorded - self.derived) == 1

    @property
    def wrong_length(self) -> bool:
        """A difference that no rounding of lengths explains: these features belong to another recording."""
        return abs(self.recorded - self.derived) > 1


@dataclass(frozen=True, slots=True)
class PrecisionGroup:
    """The items extracted in one precision, and how many near-ties they may have."""

    precision: TokenPrecision
    items: int
    frames: int
    """Decided ones"""
    near_ties: int
    rate: float
    """Near-ties per frame to expect: one more than the emulation made, since a count of 0 is no rate of 0"""
    limit: int
    """The binomial count of `frames` at `rate` that is exceeded with a probability of at most `RISK`"""
    beyond: int = 0
    """Near-ties in float32 that float32 rounding does not explain: the item may yet be a half-precision one"""
    beyond_limit: int = 0
    """The same limit for those, whose expected number is 0"""

    @property
    def surplus(self) -> int:
        """Near-ties that a right tsv does not have."""
        return max(self.near_ties - self.limit, self.beyond - self.beyond_limit, 0)

    @property
    def exceeded(self) -> tuple[int, int]:
        """The count that exceeds its limit, and that limit; near-ties and theirs where none does."""
        beyond = self.near_ties <= self.limit and self.beyond > self.beyond_limit
        return (self.beyond, self.beyond_limit) if beyond else (self.near_ties, self.limit)

    @classmethod
    def of(cls, precision: TokenPrecision, items: list[ItemAudit], predicted: int, all_frames: int) -> "PrecisionGroup":
        frames = sum(item.counts.frames - item.counts.undecided for item in items)
        rate = predicted / all_frames + 1 / max(frames, 1)
        near_ties = sum(item.counts.near_ties for item in items)
        return cls(
            precision,
            len(items),
            frames,
            near_ties,
            min(rate, 1.0),
            upper_limit(frames, rate, RISK),
            sum(item.counts.beyond for item in items) if precision is TokenPrecision.FLOAT32 else 0,
            upper_limit(frames, 1 / max(frames, 1), RISK),
        )


@dataclass(frozen=True)
class TokenAudit:
    """Whether the recorded tokens come from one checkpoint."""

    checkpoint: str
    family: str
    digests: EncoderDigests
    experiment: str
    files: tuple[str, ...]
    """The tsv or its parts"""
    rows: int
    """Rows of the tsv that hold tokens"""
    items: tuple[ItemAudit, ...]
    """The rows that were checked"""
    sampled: bool
    """Only some of the rows that have features were chosen to be checked."""
    arithmetic: str
    """How half-precision products are summed up, as far as it explains the tsv best"""
    predicted: tuple[int, int]
    """Near-ties that the least favourable variant would have made of this data: in float32, and in half precision"""
    without_tokens: tuple[str, ...]
    """Items with features that the tsv lacks"""
    without_features: tuple[str, ...]
    """Items of the tsv that have no features, so that their tokens cannot be checked"""
    repeated: tuple[str, ...]
    """Items with several rows"""
    unreadable: tuple[tuple[str, str], ...]
    """(item, why its features cannot be used)"""
    malformed: tuple[tuple[str, str], ...]
    """(`file:number`, what is wrong) of lines that hold no tokens"""
    headless: bool
    """The merged tsv has no header, so stage 1 loses its first item."""
    leftover_parts: tuple[str, ...]
    float_arithmetic: str = "float32"
    """How a float32 run carries out its products: in float32 or TF32"""
    least_coverage: float = HALF_OF_THE_ITEMS
    """Share of the rows that must have features for a verdict on the whole, 0..1"""
    uncovered: int = 0
    """Rows of the items in `without_features`; an item may have several"""

    @property
    def covered(self) -> int:
        """Rows of the tsv that have features to check them by."""
        return self.rows - max(self.uncovered, len(self.without_features))

    @cached_property
    def total(self) -> FrameCounts:
        """Of all items; the precision is `mixed` where items differ in it."""
        counts = [item.counts for item in self.items]
        precisions = {count.precision for count in counts} - {TokenPrecision.EITHER}
        return FrameCounts(
            frames=sum(count.frames for count in counts),
            explained=sum(count.explained for count in counts),
            near_ties=sum(count.near_ties for count in counts),
            mismatches=sum(count.mismatches for count in counts),
            undecided=sum(count.undecided for count in counts),
            precision=TokenPrecision.MIXED if len(precisions) > 1 else next(iter(precisions), TokenPrecision.EITHER),
            coarse=sum(count.coarse for count in counts),
            beyond=sum(count.beyond for count in counts),
            off_float32=sum(count.off_float32 for count in counts),
            off_half=sum(count.off_half for count in counts),
        )

    @cached_property
    def groups(self) -> tuple[PrecisionGroup, ...]:
        """The items by precision. Those that both explain are counted to the precision of the others, or to half."""
        float32 = [item for item in self.items if item.counts.precision is TokenPrecision.FLOAT32]
        others = [item for item in self.items if item.counts.precision is not TokenPrecision.FLOAT32]
        if float32 and all(item.counts.precision is TokenPrecision.EITHER for item in others):
            float32, others = [*float32, *others], []
        return tuple(
            PrecisionGroup.of(precision, items, predicted, self.total.frames)
            for precision, items, predicted in zip(
                (TokenPrecision.FLOAT32, TokenPrecision.HALF), (float32, others), self.predicted, strict=True
            )
            if items
        )

    @property
    def limit(self) -> int:
        """The most near-ties that a right tsv has, all precisions together."""
        return sum(group.limit for group in self.groups)

    @property
    def beyond_limit(self) -> int:
        """Near-ties that a right tsv does not have."""
        return sum(group.surplus for group in self.groups)

    @property
    def wrong_lengths(self) -> tuple[ItemAudit, ...]:
        return tuple(item for item in self.items if item.wrong_length)

    @property
    def contradictions(self) -> tuple[str, ...]:
        """What proves that tokens, features and checkpoint do not belong together; machine-readable words.

        Lengths alone say of the features that they are of other recordings, and of the checkpoint nothing.
        """
        found = {
            "mismatches": self.total.mismatches,
            "near-ties": self.beyond_limit,
            "lengths": self.wrong_lengths,
        }
        return tuple(word for word, is_so in found.items() if is_so)

    @property
    def only_lengths(self) -> bool:
        """Whether nothing speaks against the checkpoint, and features are of other recordings than the tokens."""
        return self.contradictions == ("lengths",)

    @property
    def gaps(self) -> tuple[str, ...]:
        """What could not be checked and should have been; machine-readable words."""
        total = self.total
        too_many = total.undecided > UNDECIDED_SHARE * total.frames
        found = {
            "overflow": too_many and total.undecided > total.coarse,
            "coarse": too_many and total.coarse,
            "unreadable": self.unreadable,
            "malformed": self.malformed,
            # Features are often cleaned up; but a verdict on the whole must not rest on a small part of it.
            "coverage": self.covered < self.least_coverage * self.rows,
        }
        return tuple(word for word, is_so in found.items() if is_so)

    @property
    def verdict(self) -> TokenVerdict:
        """A proven contradiction outweighs what could not be checked."""
        if self.contradictions:
            return TokenVerdict.INCONSISTENT
        return TokenVerdict.INCONCLUSIVE if self.gaps else TokenVerdict.CONSISTENT

    @property
    def exit_code(self) -> int:
        return self.verdict.exit_code

    def better_than(self, other: "TokenAudit") -> str:
        """Say which explains more of the tokens: `checkpoint` (this one), `against` (the other one) or `equal`.

        Of two that explain equally many, the better is that to which fewer are proven not to belong.
        """
        mine, theirs = self.total, other.total
        difference = (
            mine.explained * theirs.frames - theirs.explained * mine.frames
            or theirs.mismatches * mine.frames - mine.mismatches * theirs.frames
        )
        return "checkpoint" if difference > 0 else "against" if difference < 0 else "equal"
