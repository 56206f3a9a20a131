"""Sparklines: the height of each bar is its value, on any stream."""

import math

import pytest

from vqcheck.report.render.sparkline import BARS, bars_for, sparkline


def test_sparklines_follow_their_values():
    """The lowest bar is the floor, the highest the greatest value; too many values are averaged, gaps are marked."""
    assert sparkline([0, 1], 10) == "▁█"
    assert sparkline([1, 2], 10, low=0.0) == "▅█"
    assert sparkline([3, 3, 3], 10) == "▁▁▁"
    assert len(sparkline(list(range(1000)), 30)) == 30
    assert sparkline([0, math.nan, 1], 10) == "▁?█"
    assert sparkline([math.nan], 10) == "?"
    assert sparkline([], 10) == ""


@pytest.mark.parametrize(("encoding", "plain"), [("utf-8", False), ("gbk", False), ("ascii", True), (None, True)])
def test_bars_are_ones_that_the_stream_can_encode(encoding, plain):
    """A stream that cannot show blocks gets ASCII."""
    assert (bars_for(encoding) != BARS) == plain
    bars_for(encoding).encode(encoding or "ascii")
