"""Limits of binomial counts, exact for any rate: P(count = j) = C(n, j) p^j (1 - p)^(n - j)."""

import math
from functools import lru_cache
from typing import Final

_HALVINGS: Final = 40


def upper_limit(trials: int, rate: float, risk: float) -> int:
    """Return the smallest k with P(count > k) <= risk, for a count of `trials` trials that succeed at `rate` each.

    The tail is summed from its far end inwards, where terms are smallest.
    """
    if rate >= 1 or trials == 0:
        return trials
    if rate <= 0:
        return 0
    mean = trials * rate
    # Terms fall faster than a normal's beyond ten deviations, and faster than a Poisson's for small means.
    far = min(trials, math.ceil(mean + 12 * math.sqrt(mean) + 60))
    above = 0.0
    for count in range(far, -1, -1):
        above += _mass(trials, rate, count)
        if above > risk:
            return count
    return 0


@lru_cache(maxsize=64)
def smallest_share(frames: int, off: int, risk: float) -> float:
    """Return the smallest share at which at most `off` of `frames` are hit with a probability of at most `risk`."""
    if risk >= 1:
        return 0.0
    if off >= frames:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if at_most(frames, middle, off) > risk else (low, middle)
    return high


def at_most(trials: int, rate: float, count: int) -> float:
    """Return P(hits <= count) of so many trials that succeed at `rate` each."""
    if count >= trials or rate <= 0:
        return 1.0
    if rate >= 1:
        return 0.0
    return min(1.0, math.fsum(_mass(trials, rate, hits) for hits in range(count + 1)))


def _mass(trials: int, rate: float, count: int) -> float:
    return math.exp(
        math.lgamma(trials + 1)
        - math.lgamma(count + 1)
        - math.lgamma(trials - count + 1)
        + count * math.log(rate)
        + (trials - count) * math.log1p(-rate)
    )
