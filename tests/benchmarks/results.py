"""What a benchmark finds: samples of one quantity, a figure beside its rivals and floor, a tool's answer to a case."""

import statistics
from dataclasses import dataclass

SECONDS, MIB, PER_SECOND, MB_PER_SECOND, FILES_PER_SECOND = "s", "MiB", "frames/s", "MB/s", "files/s"
SAME, CHANGED, NO_ANSWER = "same", "changed", "no answer"


@dataclass(frozen=True)
class Measured:
    """Samples of one quantity, in the unit of its figure."""

    label: str
    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The middle half of the samples lies between them."""
        if len(self.samples) < 2:
            return self.median, self.median
        low, _, high = statistics.quantiles(self.samples, n=4, method="inclusive")
        return low, high


@dataclass(frozen=True)
class Figure:
    """One quantity of vqcheck, beside the same quantity of rivals that were measured in turn with it."""

    benchmark: str
    name: str
    unit: str
    ours: Measured
    rivals: tuple[Measured, ...] = ()
    floor: Measured | None = None
    """What no implementation in Python can go below."""
    note: str = ""

    @property
    def more_is_better(self) -> bool:
        return self.unit.endswith("/s")

    def ratio(self, rival: Measured) -> float:
        """How many times better than the rival: above 1 vqcheck is faster, or takes less memory."""
        ours, other = self.ours.median, rival.median
        return ours / other if self.more_is_better else other / ours

    @property
    def times_floor(self) -> float | None:
        """How far from the floor: 1 is at it, and more is worse."""
        return None if self.floor is None else self.ratio(self.floor) ** -1


@dataclass(frozen=True)
class Answer:
    """What a tool says of a pair of files, and what is true."""

    case: str
    tool: str
    expected: str
    said: str
    note: str = ""

    @property
    def right(self) -> bool:
        return self.said == self.expected


Result = Figure | Answer
