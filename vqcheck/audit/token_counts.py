"""From what an item's frames are to what they prove, given that an item is extracted in one precision."""

from collections.abc import Sequence

from vqcheck.audit.binomial import upper_limit
from vqcheck.audit.token_audit_result import RISK, FrameCounts, TokenPrecision
from vqcheck.audit.token_frames import (
    COARSE_FLOAT32,
    COARSE_OTHER,
    FAR,
    HOT_FLOAT32,
    HOT_OTHER,
    NEAR,
    ONLY_FLOAT32,
    ONLY_HALF,
)


def counts_of(kinds: Sequence[int], beyond: int, second_ties: int, half_rate: float, items: int) -> FrameCounts:
    """Return the counts of one item, given how many of its frames are of each kind and beyond float32 rounding.

    `second_ties` are those whose token is the second of two that half precision finds equally near.

    The kinds are those of `token_frames`. `half_rate` is the rate at which half precision makes near-ties of these
    features, and `items` the number of items that are judged with this one.

    In a float32 item the tokens that only half precision gives are near-ties, in a half-precision item those that only
    float32 gives. Where half precision overflows it gives arbitrary tokens, and where it is coarse nearly so: an item
    that has mostly float32 tokens there was extracted in float32, and then its other tokens there are no more excused
    than elsewhere.

    Where more tokens are float32's alone than half precision makes near-ties, the item is a float32 one beyond doubt.
    Then what is beyond float32 rounding is explained by nothing.
    """
    frames = sum(kinds)
    float32 = kinds[ONLY_FLOAT32] + kinds[HOT_FLOAT32] + kinds[COARSE_FLOAT32]
    in_half = kinds[ONLY_HALF] + kinds[HOT_OTHER] + kinds[COARSE_OTHER]
    precision = (
        TokenPrecision.FLOAT32
        if float32 > in_half
        else TokenPrecision.HALF
        if in_half > float32
        else TokenPrecision.EITHER
    )
    if precision is TokenPrecision.FLOAT32:
        near_ties = kinds[NEAR] + kinds[ONLY_HALF] + kinds[HOT_OTHER] + kinds[COARSE_OTHER]
        overflowing = coarse = 0
    else:
        near_ties = kinds[NEAR] + kinds[ONLY_FLOAT32]
        overflowing, coarse = kinds[HOT_OTHER], kinds[COARSE_OTHER]
    mismatches = kinds[FAR]
    beyond = beyond - mismatches if precision is not TokenPrecision.HALF else 0
    if (
        precision is TokenPrecision.FLOAT32
        and beyond
        and float32 > upper_limit(frames, half_rate + 1 / frames, RISK / items)
    ):
        near_ties, mismatches, beyond = near_ties - beyond, mismatches + beyond, 0
    undecided = overflowing + coarse
    in_neither = (
        near_ties + mismatches - (kinds[ONLY_HALF] if precision is TokenPrecision.FLOAT32 else kinds[ONLY_FLOAT32])
    )
    explained = frames - near_ties - mismatches - undecided
    return FrameCounts(
        frames,
        explained,
        near_ties,
        mismatches,
        undecided,
        precision,
        coarse,
        beyond,
        off_float32=in_neither + kinds[ONLY_HALF],
        off_half=in_neither + kinds[ONLY_FLOAT32] + second_ties,
    )
