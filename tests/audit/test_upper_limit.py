"""The binomial limit, against exact rational arithmetic."""

from fractions import Fraction
from math import comb

import pytest

from vqcheck.audit.binomial import upper_limit


@pytest.mark.parametrize("trials", [1, 7, 60])
@pytest.mark.parametrize("rate", ["1/1000", "1/50", "1/3", "9/10"])
@pytest.mark.parametrize("risk", ["1/10007", "1/97"])
def test_the_limit_is_the_smallest_count_with_that_risk(trials, rate, risk):
    """P(count > k) is at most the risk for the limit, and more than the risk for any smaller k."""
    p, limit = Fraction(rate), upper_limit(trials, float(Fraction(rate)), float(Fraction(risk)))

    def above(k):
        return sum(comb(trials, j) * p**j * (1 - p) ** (trials - j) for j in range(k + 1, trials + 1))

    assert above(limit) <= Fraction(risk)
    assert limit == 0 or above(limit - 1) > Fraction(risk)


@pytest.mark.parametrize(
    ("trials", "rate", "limit"), [(0, 0.5, 0), (10, 0.0, 0), (10, 1.0, 10), (2_000_000, 1e-3, 2168)]
)
def test_edges_and_many_trials(trials, rate, limit):
    """No trials, a rate of 0 or 1, and more trials than fit into a table."""
    assert upper_limit(trials, rate, 1e-4) == limit
