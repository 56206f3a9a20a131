"""Round numbers for pictures: axes with their ticks, and classes of sizes to colour or count by."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

LARGEST: Final = 1e300
MOST: Final = 6
"""Classes that colours can be told apart in."""
STILL: Final = -1
NOT_FINITE: Final = 9
"""Classes beside those by size: of values that are 0, and that are no number."""


class Axis(NamedTuple):
    """One direction of a chart: what it shows in which unit, and the values between its ends."""

    title: str
    low: float
    high: float
    ticks: tuple[float, ...]

    def share(self, value: float) -> float:
        """Return where a value lies between both ends, from 0 to 1."""
        return (value - self.low) / (self.high - self.low)


def drawable(value: float) -> bool:
    """Say whether a value has a place on a scale: it is finite, and not so large that its tick would not be."""
    return abs(value) < LARGEST


def from_zero(title: str, values: Iterable[float], ticks: int = 4) -> Axis:
    """Return an axis from 0 to a round number above all values that can be drawn, with about so many ticks."""
    top = max((value for value in values if drawable(value)), default=0.0)
    step = round_step(top / ticks) if top > 1 / LARGEST else 1.0
    steps = max(math.ceil(top / step - 1e-9), 1)
    return Axis(title, 0.0, steps * step, tuple(number * step for number in range(steps + 1)))


def counted(title: str, values: Iterable[float], ticks: int = 5) -> Axis:
    """Return an axis over whole numbers, such as steps, from the first to the last, with ticks on whole numbers."""
    found = list(values)
    low, high = min(found, default=0), max(found, default=1)
    if low == high:
        return Axis(title, low - 1, high + 1, (low,))
    step = max(round_step((high - low) / ticks), 1.0)
    placed = [low] if low <= 1 else []
    tick = math.ceil(low / step) * step
    while tick <= high:
        if not placed or tick - placed[-1] >= step / 2:
            placed.append(tick)
        tick += step
    return Axis(title, low, high, tuple(placed))


def label(value: float) -> str:
    """Return the words of a tick."""
    if value and not 1e-4 <= abs(value) < 1e7:
        mantissa, exponent = f"{value:.9e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:,.0f}" if abs(value) >= 10_000 and value == int(value) else f"{value:.9g}"


def round_step(rough: float, factors: Sequence[float] = (1, 2, 5, 10)) -> float:
    """Return one of the factors, which end with 10, times a power of ten: the smallest that is at least `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in factors if factor * power >= rough * (1 - 1e-9))


def limits(values: Iterable[float], most: int = MOST) -> tuple[float, ...]:
    """Return the upper limits of at most `most` classes, ascending; none where no value is above 0 and finite.

    Values of about one size are told apart by equal steps; others by 1, 2 and 5 times powers of ten. The lowest class
    takes in everything below, so that a few very small values do not use up the others.
    """
    found = sorted(value for value in values if 1 / LARGEST < value < LARGEST)
    if not found:
        return ()
    low, top = found[len(found) // 20], found[-1]
    if low > top / 4:
        step = round_step(max((top - low) / (most - 1), top * 1e-6), (1, 2, 2.5, 4, 5, 10))
        first = math.floor(low / step * (1 - 1e-9))
        last = math.ceil(top / step * (1 - 1e-9))
        return tuple(number * step for number in range(first + 1, max(last, first + 1) + 1))[:most]
    found_limits = [round_step(top)]
    while len(found_limits) < most and found_limits[-1] > low:
        found_limits.append(_below(found_limits[-1]))
    # One class below the smallest value would stay empty.
    return tuple(reversed([limit for limit in found_limits if limit >= low] or found_limits[:1]))


def class_of(value: float, upper: Sequence[float]) -> int:
    """Return the class that a value belongs to: by size, or `STILL`, or `NOT_FINITE`."""
    if not math.isfinite(value):
        return NOT_FINITE
    if value <= 0 or not upper:
        return STILL
    return min(bisect_left([_end(limit) for limit in upper], value), len(upper) - 1)


def counts(values: Iterable[float], upper: Sequence[float]) -> list[int]:
    """Return how many of the values, all above 0 and finite, are in each class."""
    found = sorted(values)
    ends = [0, *(bisect_right(found, _end(limit)) for limit in upper[:-1]), len(found)]
    return [stop - start for start, stop in pairwise(ends)] if upper else []


def spans(upper: Sequence[float]) -> list[tuple[str, str]]:
    """Return the limits of each class as they are written, from the one below to its own; the lowest has none below."""
    ends = [label(limit) for limit in upper]
    return list(zip(["", *ends], ends, strict=False))


def _end(limit: float) -> float:
    """Return a limit, and what calculating it may have cost."""
    return limit * (1 + 1e-12)


def _below(limit: float) -> float:
    """Return the next smaller of 1, 2 and 5 times powers of ten."""
    power = 10.0 ** math.floor(math.log10(limit * (1 + 1e-9)))
    leading = round(limit / power)
    return {1: 0.5, 2: 1.0, 5: 2.0}[leading] * power
