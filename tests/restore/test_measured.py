"""What the numbers of a measurement carry: the verdict is that of the interval, and nothing more."""

import numpy as np
import pytest

from vqcheck.restore.measured import Better, MeasuredItem, Measurement, Way, paired_difference, quantile

scipy_stats = pytest.importorskip("scipy.stats")


def items(drifted, restored):
    pairs = zip(drifted, restored, strict=True)
    return tuple(MeasuredItem(str(n), 1.0, (float(a), float(b), float(a)), 25, 3) for n, (a, b) in enumerate(pairs))


@pytest.mark.parametrize("freedom", [*range(1, 41), 100, 1000])
def test_quantiles_are_students(freedom):
    assert quantile(freedom) == pytest.approx(scipy_stats.t.ppf(0.975, freedom), rel=1e-4)


@pytest.mark.parametrize("count", [2, 3, 12, 40])
def test_the_interval_is_that_of_a_paired_t_test(count):
    draw = np.random.default_rng(count)
    drifted, restored = draw.random(count) + 1, draw.random(count) + 1.1
    found = paired_difference(Way.RESTORED, Way.DRIFTED, items(drifted, restored))
    low, high = scipy_stats.ttest_rel(restored, drifted).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-3, abs=1e-6)


@pytest.mark.parametrize(
    ("restored", "verdict"),
    [
        ((1.0, 1.1, 0.9), Better.BETTER),
        ((3.0, 3.1, 2.9), Better.WORSE),
        ((2.1, 1.8, 2.15), Better.NO_DIFFERENCE),
        ((2.0, 2.1, 1.9), Better.NO_DIFFERENCE),
        ((2.001, 2.101, 1.901), Better.NO_DIFFERENCE),
        ((1.999, 2.099, 1.899), Better.NO_DIFFERENCE),
    ],
    ids=["closer", "farther", "either way", "the same numbers", "farther by nothing", "closer by nothing"],
)
def test_verdict(restored, verdict):
    found = Measurement("logs/me", "v2", "CPU", items((2.0, 2.1, 1.9), restored), 3, ())
    assert found.verdict is verdict


def test_half_the_intervals_of_no_difference_do_not_lie():
    """Of data without a difference, about one in twenty is called better or worse."""
    draw = np.random.default_rng(0)
    wrong = 0
    for _ in range(1000):
        a, b = draw.normal(size=(2, 6))
        wrong += paired_difference(Way.RESTORED, Way.DRIFTED, items(a, b)).verdict is not Better.NO_DIFFERENCE
    assert wrong < 80
