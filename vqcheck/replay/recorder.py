"""Keeps the trace of an arm in bounded memory, and what must be known of all of its steps."""

import math
import statistics
from collections import deque
from typing import Final

from vqcheck.replay.trace import MOST_FURTHER, Extent, StepTrace

MAX_KEPT: Final = 2_000
"""Steps that are kept at most; beyond it every second one is dropped, as often as needed."""
_MAX_TIMES: Final = 1_000


class Recorder:
    """Collects the steps of one arm."""

    def __init__(self) -> None:
        self.kept_every = 1
        self.steps_run = 0
        self.first_changed: dict[str, int] = {}
        self.rank_differences = 0
        self.skipped_steps: int | None = 0
        self._kept: list[StepTrace] = []
        self._last: StepTrace | None = None
        self._extents: dict[str, Extent] = {}
        self._seconds: deque[float] = deque(maxlen=_MAX_TIMES)
        self._tracing: deque[float] = deque(maxlen=_MAX_TIMES)

    def add(self, step: StepTrace, tracing_seconds: float) -> None:
        """Take in one step."""
        self.steps_run += 1
        self._last = step
        if (step.step - 1) % self.kept_every == 0:
            self._kept.append(step)
        if len(self._kept) > MAX_KEPT:
            self.kept_every *= 2
            self._kept = [kept for kept in self._kept if (kept.step - 1) % self.kept_every == 0]
        for tensor in step.tensors:
            if tensor.written or tensor.changed:
                self.first_changed.setdefault(tensor.label, step.step)
        self.rank_differences += bool(step.differing_across_ranks)
        if step.optimizer_step_skipped is None:
            self.skipped_steps = None
        elif self.skipped_steps is not None:
            self.skipped_steps += step.optimizer_step_skipped
        for name in ("commit_loss", "shadow_commit_loss"):
            self._widen(name, getattr(step, name))
        if step.seconds is not None:
            self._seconds.append(step.seconds)
            self._tracing.append(tracing_seconds)

    def is_done(self, planned: int, attribution_is_due: bool) -> bool:
        """Say whether an arm has had the steps that were planned, or more of them where the scaler skipped some.

        Then it must have learned at least once, and what first changed by that needs a step more to be attributed.
        """
        if self.steps_run < planned or not self.skipped_steps:
            return self.steps_run >= planned
        needs_more = self.skipped_steps == self.steps_run or attribution_is_due
        return not needs_more or self.steps_run >= planned + MOST_FURTHER

    @property
    def steps(self) -> tuple[StepTrace, ...]:
        """The steps that were kept, and the last one in any case."""
        last = (self._last,) if self._last and (not self._kept or self._kept[-1] is not self._last) else ()
        return (*self._kept, *last)

    def extent(self, name: str) -> Extent:
        """Return the range of `commit_loss` or `shadow_commit_loss` over all steps."""
        return self._extents.get(name, Extent(math.nan, math.nan))

    @property
    def median_seconds(self) -> float | None:
        return statistics.median(self._seconds) if self._seconds else None

    @property
    def median_tracing_seconds(self) -> float | None:
        return statistics.median(self._tracing) if self._tracing else None

    def _widen(self, name: str, value: float) -> None:
        if math.isfinite(value):
            old = self._extents.get(name, Extent(value, value))
            self._extents[name] = Extent(min(old.low, value), max(old.high, value))
