"""Scales of charts: round numbers for their ends and ticks."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

LARGEST: Final = 1e300


@dataclass(frozen=True, slots=True)
class Axis:
    """One direction of a chart: what it shows in which unit, and the values between its ends."""

    title: str
    low: float
    high: float
    ticks: tuple[float, ...]

    def share(self, value: float) -> float:
        """Return where a value lies between both ends, from 0 to 1."""
        return (value - self.low) / (self.high - self.low)


def drawable(value: float) -> bool:
    """Say whether a value has a place on a scale: it is finite, and not so large that its tick would not be."""
    return abs(value) < LARGEST


def from_zero(title: str, values: Iterable[float], count: int = 4) -> Axis:
    """Return an axis from 0 to a round number above all values that can be drawn, with about `count` ticks."""
    top = max((value for value in values if drawable(value)), default=0.0)
    step = round_step(top / count) if top > 1 / LARGEST else 1.0
    steps = max(math.ceil(top / step - 1e-9), 1)
    return Axis(title, 0.0, steps * step, tuple(number * step for number in range(steps + 1)))


def counted(title: str, values: Iterable[float], count: int = 5) -> Axis:
    """Return an axis over whole numbers, such as steps, from the first to the last, with ticks on whole numbers."""
    found = list(values)
    low, high = min(found, default=0), max(found, default=1)
    if low == high:
        return Axis(title, low - 1, high + 1, (low,))
    step = max(round_step((high - low) / count), 1.0)
    ticks = [low] if low <= 1 else []
    tick = math.ceil(low / step) * step
    while tick <= high:
        if not ticks or tick - ticks[-1] >= step / 2:
            ticks.append(tick)
        tick += step
    return Axis(title, low, high, tuple(ticks))


def label(value: float) -> str:
    """Return the words of a tick."""
    if value and not 1e-4 <= abs(value) < 1e7:
        mantissa, exponent = f"{value:.9e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:,.0f}" if abs(value) >= 10_000 and value == int(value) else f"{value:.9g}"


def round_step(rough: float, factors: Sequence[float] = (1, 2, 5, 10)) -> float:
    """Return one of the factors, which end with 10, times a power of ten: the smallest that is at least `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in factors if factor * power >= rough * (1 - 1e-9))
