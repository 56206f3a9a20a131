"""What a token audit that passed could not have seen: the largest drift that leaves as few tokens off as were found.

A drift that flips a share p of the frames changes a token in each frame with probability p, so that at most k of n
tokens differ with the probability of a binomial count. The share stated is the smallest at which that is 5 %.

In which precision the tokens were extracted is not known for sure, and the two differ in frames near a border. There a
drift that is larger than rounding gives either side with equal chance. So both readings are asked, each with the
chance that so few of these frames speak for the other one, and the larger share counts.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from vqcheck.audit.token_audit_result import TokenAudit, TokenVerdict

CONFIDENCE: Final = 0.95
_HALVINGS: Final = 40


@dataclass(frozen=True, slots=True)
class Power:
    """A drift that flips more than `share` of the frames would have been noticed with the probability `CONFIDENCE`."""

    frames: int
    """Frames that could be decided"""
    off: int
    """Those whose token is another one than the checkpoint gives, by the reading that counts; rounding explains them"""
    share: float
    """Of the frames, 0..1"""


def power(audit: TokenAudit) -> Power | None:
    """Return what a passed audit could not have seen; None where it did not pass or decided no frame."""
    total = audit.total
    frames = total.frames - total.undecided
    if audit.verdict is not TokenVerdict.CONSISTENT or not frames:
        return None
    ambiguous = total.off_float32 + total.off_half
    readings = []
    for off, other in ((total.off_float32, total.off_half), (total.off_half, total.off_float32)):
        # As many speak against this reading as for it where they are equal: that is no evidence.
        chance = 1.0 if off <= other else at_most(ambiguous, 0.5, other)
        readings.append(Power(frames, off, smallest_share(frames, off, (1 - CONFIDENCE) / chance)))
    return max(readings, key=lambda reading: reading.share)


def updates(found: Power, steps: int, flipped: int, frames: int) -> int | None:
    """Return how many leaked updates flip about the share stated, where `steps` of them flip `flipped` of `frames`.

    None where they flip none, so that there is no rate to go by.
    """
    return max(1, round(steps * found.share * frames / flipped)) if flipped else None


def sentence(found: Power) -> str:
    """Return what a passed audit could not have seen, as a clause; the share is rounded up."""
    return (
        f"no drift that flips more than {percent(found.share)} of the frames would have gone unnoticed here "
        f"({100 * CONFIDENCE:.0f} %)"
    )


def percent(share: float) -> str:
    """Return a share in percent with two digits, rounded up, so that it never promises too much."""
    digits = 1 - math.floor(math.log10(share * 100))
    return f"{min(100.0, math.ceil(share * 100 * 10**digits) / 10**digits):.{max(0, digits)}f} %"


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
    log_hit, log_miss = math.log(rate), math.log1p(-rate)
    terms = (
        math.lgamma(trials + 1)
        - math.lgamma(hits + 1)
        - math.lgamma(trials - hits + 1)
        + hits * log_hit
        + (trials - hits) * log_miss
        for hits in range(count + 1)
    )
    return min(1.0, math.fsum(map(math.exp, terms)))
