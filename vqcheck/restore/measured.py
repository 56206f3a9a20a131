"""Which way out of a drift sounds closest to the recordings, in numbers. Plain data, which reports read."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from vqcheck.word_enum import WordEnum

_T: Final = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)
"""97.5 % quantiles of Student's t with 1 to 10 degrees of freedom."""
_Z: Final = 1.959964
_LEAST: Final = 0.01
"""Share of the error that a difference must have: of many recordings the interval is narrower than anybody hears."""


class Way(WordEnum):
    """What is decoded with which tokens."""

    DRIFTED = "drifted file, recorded tokens"
    """What one hears today."""
    RESTORED = "restored file, recorded tokens"
    EXTRACTED_AGAIN = "drifted file, tokens extracted again"


class Better(WordEnum):
    """What the restored file is to the drifted one."""

    BETTER = "restored is better"
    NO_DIFFERENCE = "no difference in this data"
    WORSE = "restored is worse"


@dataclass(frozen=True, slots=True)
class Clip:
    """Sound of one recording: the recording itself, or what was decoded."""

    name: str
    """`recording`, `drifted`, `restored` or `extracted again`."""
    wav: bytes
    """A wav file; empty where it is too much to be kept."""
    path: str = ""
    """Where it was saved; empty where it was not."""


@dataclass(frozen=True, slots=True)
class MeasuredItem:
    """One recording under each way."""

    name: str
    seconds: float
    """What was compared."""
    errors: tuple[float, ...]
    """Mean absolute difference of the log mel spectrograms from the recording's, in the order of `Way`."""
    tokens: int
    other_tokens: int
    """Tokens that are others when they are extracted again with the drifted file."""
    clips: tuple[Clip, ...] = ()

    def error(self, way: Way) -> float:
        return self.errors[list(Way).index(way)]


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """By how much one way is farther from the recordings than another, over the same recordings."""

    way: Way
    against: Way
    mean: float
    low: float
    """Limits of the 95 % confidence interval of the mean."""
    high: float
    error: float
    """Mean error of the other."""

    @property
    def verdict(self) -> Better:
        """What `way` is to `against`: a difference counts that the interval keeps from zero, and that is not tiny."""
        if abs(self.mean) < _LEAST * self.error:
            return Better.NO_DIFFERENCE
        if self.high < 0:
            return Better.BETTER
        return Better.WORSE if self.low > 0 else Better.NO_DIFFERENCE


@dataclass(frozen=True, slots=True)
class Measurement:
    """Recordings of an experiment, decoded in each way."""

    experiment: str
    version: str
    device: str
    items: tuple[MeasuredItem, ...]
    of: int
    """Recordings that could be measured; `items` are a sample where there are fewer."""
    left_out: tuple[tuple[str, str], ...]
    """Recordings that could not, and why."""

    def difference(self, way: Way, against: Way) -> PairedDifference:
        return paired_difference(way, against, self.items)

    @property
    def verdict(self) -> Better:
        return self.difference(Way.RESTORED, Way.DRIFTED).verdict

    def mean(self, way: Way) -> float:
        return sum(item.error(way) for item in self.items) / len(self.items)


def paired_difference(way: Way, against: Way, items: Sequence[MeasuredItem]) -> PairedDifference:
    """Return the mean of the differences with its interval by Student's t; there are at least two items."""
    values = [item.error(way) - item.error(against) for item in items]
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    reach = quantile(len(values) - 1) * math.sqrt(variance / len(values))
    error = sum(item.error(against) for item in items) / len(items)
    return PairedDifference(way, against, mean, mean - reach, mean + reach, error)


def quantile(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t; above ten degrees of freedom by Cornish and Fisher's expansion."""
    if freedom <= len(_T):
        return _T[freedom - 1]
    z, n = _Z, freedom
    return (
        z
        + (z**3 + z) / (4 * n)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
    )
