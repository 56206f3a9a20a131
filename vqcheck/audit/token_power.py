"""What a token audit that passed could not have seen: the largest drift that leaves as few tokens off as were found.

A drift that flips a share p of the frames changes a token in each frame with probability p, so that at most k of n
tokens differ with the probability of a binomial count. The share stated is the smallest at which that is 5 %.

In which precision the tokens were extracted is not known for sure, and the two differ in frames near a border. There a
drift that is larger than rounding gives either side with equal chance. So both readings are asked, each with the
chance that so few of these frames speak for the other one, and the larger share counts.
"""

import math
from dataclasses import dataclass
from typing import Final

from vqcheck.audit.binomial import at_most, smallest_share
from vqcheck.audit.token_audit_result import TokenAudit, TokenVerdict

CONFIDENCE: Final = 0.95


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


def summary(audit: TokenAudit) -> str:
    """Return what an audit came to, in one sentence; of one that passed also what it could not have seen."""
    total = audit.total
    sampled = f" of {len(audit.items)} sampled items" if audit.sampled else ""
    if audit.without_features:
        sampled += f" ({len(audit.without_features)} of {audit.rows} items have no features to check them by)"
    if audit.verdict is TokenVerdict.INCONSISTENT:
        if total.mismatches:
            return f"{total.mismatches} of {total.frames} recorded tokens{sampled} do not come from this VQ encoder"
        if not audit.beyond_limit:
            return f"{len(audit.wrong_lengths)} items{sampled} have another length than their features"
        count, limit = max(audit.groups, key=lambda group: group.surplus).exceeded
        return (
            f"{count} of {total.frames} recorded tokens{sampled} are near-ties, where rounding explains at most "
            f"{limit}: the codebook has moved"
        )
    if audit.verdict is TokenVerdict.CONSISTENT:
        ties = f", {total.near_ties} within rounding" if total.near_ties else ""
        agree = f"{total.explained} of {total.frames} recorded tokens{sampled} agree{ties}"
        found = power(audit)
        return f"{agree}; {sentence(found)}" if found else agree
    return f"inconclusive{sampled} ({', '.join(audit.gaps)}); vqcheck tokens shows the items"
