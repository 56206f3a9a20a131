"""The one-sided limit of a binomial count."""

import math


def upper_limit(trials: int, rate: float, risk: float) -> int:
    """Return the smallest k with P(count > k) <= risk, for a count of `trials` trials that succeed at `rate` each.

    P(count = j) = C(n, j) p^j (1 - p)^(n - j), summed from the far tail inwards, where terms are smallest.
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
        above += math.exp(
            math.lgamma(trials + 1)
            - math.lgamma(count + 1)
            - math.lgamma(trials - count + 1)
            + count * math.log(rate)
            + (trials - count) * math.log1p(-rate)
        )
        if above > risk:
            return count
    return 0
