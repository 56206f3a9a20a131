"""Classes of sizes with round limits, for pictures that colour or count by size."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

from vqcheck.report.html.axis import LARGEST, label, round_step

MOST: Final = 6


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


def of(value: float, upper: Sequence[float]) -> int:
    """Return the number of the class that a value above 0 belongs to."""
    return min(bisect_left([_end(limit) for limit in upper], value), len(upper) - 1)


def counts(values: Iterable[float], upper: Sequence[float]) -> list[int]:
    """Return how many of the values, all above 0 and finite, are in each class."""
    found = sorted(values)
    ends = [0, *(bisect_right(found, _end(limit)) for limit in upper[:-1]), len(found)]
    return [stop - start for start, stop in pairwise(ends)] if upper else []


def names(upper: Sequence[float]) -> list[str]:
    """Return what each class holds, in words."""
    between = [f"{label(low)} to {label(high)}" for low, high in pairwise(upper)]
    return [f"up to {label(upper[0])}", *between] if upper else []


def _end(limit: float) -> float:
    """Return a limit, and what calculating it may have cost."""
    return limit * (1 + 1e-12)


def _below(limit: float) -> float:
    """Return the next smaller of 1, 2 and 5 times powers of ten."""
    power = 10.0 ** math.floor(math.log10(limit * (1 + 1e-9)))
    leading = round(limit / power)
    return {1: 0.5, 2: 1.0, 5: 2.0}[leading] * power
