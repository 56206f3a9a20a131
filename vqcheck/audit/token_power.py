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
from vqcheck.language import listed, tr

CONFIDENCE: Final = 0.95
_GAPS: Final = {
    "overflow": tr("overflow"),
    "coarse": tr("coarse"),
    "unreadable": tr("unreadable"),
    "malformed": tr("malformed"),
    "coverage": tr("coverage"),
}
"""What could not be checked, as a token audit names it, for people"""


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
    return tr(
        "no drift that flips more than {share} of the frames would have gone unnoticed here ({confidence:.0f} %)",
        share=percent(found.share),
        confidence=100 * CONFIDENCE,
    )


def percent(share: float) -> str:
    """Return a share in percent with two digits, rounded up, so that it never promises too much."""
    digits = 1 - math.floor(math.log10(share * 100))
    return f"{min(100.0, math.ceil(share * 100 * 10**digits) / 10**digits):.{max(0, digits)}f} %"


def summary(audit: TokenAudit) -> str:
    """Return what an audit came to, in one sentence; of one that passed also what it could not have seen."""
    total, of = audit.total, _of_which(audit)
    if audit.verdict is TokenVerdict.INCONSISTENT:
        if total.mismatches:
            return tr(
                "{mismatches} of {tokens} do not come from this VQ encoder", mismatches=total.mismatches, tokens=of
            )
        if not audit.beyond_limit:
            return tr("{items} have another length than their features", items=_wrong_items(audit))
        count, limit = max(audit.groups, key=lambda group: group.surplus).exceeded
        return tr(
            "{count} of {tokens} are near-ties, where rounding explains at most {limit}: the codebook has moved",
            count=count,
            tokens=of,
            limit=limit,
        )
    if audit.verdict is TokenVerdict.CONSISTENT:
        agree = tr("{explained} of {tokens} agree", explained=total.explained, tokens=of)
        if total.near_ties:
            agree = tr("{agree}, {near_ties} within rounding", agree=agree, near_ties=total.near_ties)
        found = power(audit)
        return tr("{clause}; {next}", clause=agree, next=sentence(found)) if found else agree
    said = tr("inconclusive of {items} sampled items", items=len(audit.items)) if audit.sampled else tr("inconclusive")
    why = listed([_GAPS[gap] for gap in audit.gaps], last="")
    return tr("{said} ({why}); vqcheck tokens shows the items", said=_with_lacking(said, audit), why=why)


def _of_which(audit: TokenAudit) -> str:
    """Return of which tokens a count is a part."""
    frames = audit.total.frames
    said = (
        tr("{frames} recorded tokens of {items} sampled items", frames=frames, items=len(audit.items))
        if audit.sampled
        else tr("{frames} recorded tokens", frames=frames)
    )
    return _with_lacking(said, audit)


def _wrong_items(audit: TokenAudit) -> str:
    number = len(audit.wrong_lengths)
    said = (
        tr("{number} items of {items} sampled items", number=number, items=len(audit.items))
        if audit.sampled
        else tr("{number} items", number=number)
    )
    return _with_lacking(said, audit)


def _with_lacking(said: str, audit: TokenAudit) -> str:
    """Return of what a count is a part, and how many items could not be counted."""
    if not audit.without_features:
        return said
    return tr(
        "{said} ({lacking} of {rows} items have no features to check them by)",
        said=said,
        lacking=len(audit.without_features),
        rows=audit.rows,
    )
