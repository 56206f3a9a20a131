"""A row of small bars, for how a figure went over the steps."""

import math
from collections.abc import Sequence
from typing import Final

BARS: Final = "▁▂▃▄▅▆▇█"
_ASCII: Final = "_.-~=+*#"


def sparkline(
    values: Sequence[float], width: int, *, low: float | None = None, high: float | None = None, bars: str = BARS
) -> str:
    """Return at most `width` characters, each the mean of its share of the values; `?` where one is not finite.

    The lowest bar stands for `low` or the smallest value, the highest for `high` or the greatest.
    """
    shares = [_mean(values[start:stop]) for start, stop in _shares(len(values), width)]
    finite = [value for value in shares if math.isfinite(value)]
    if not finite:
        return "?" * len(shares)
    floor = min(finite) if low is None else low
    span = (max(finite) if high is None else high) - floor
    return "".join(_bar((value - floor) / span if span > 0 else 0.0, bars) for value in shares)


def bars_for(encoding: str | None) -> str:
    """Return the bars that a stream of this encoding can show."""
    try:
        BARS.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return _ASCII
    return BARS


def _shares(count: int, width: int) -> list[tuple[int, int]]:
    parts = min(count, max(width, 1))
    return [(count * i // parts, count * (i + 1) // parts) for i in range(parts)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _bar(share: float, bars: str) -> str:
    if not math.isfinite(share):
        return "?"
    return bars[min(max(int(share * len(bars)), 0), len(bars) - 1)]
