"""Runs arm after arm, whatever it is that trains, and keeps what was measured when it is interrupted or fails."""

import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from vqcheck.codebook.digest import EncoderDigests
from vqcheck.errors import VqcheckError
from vqcheck.language import tr
from vqcheck.live.encoder import find
from vqcheck.live.module_checkpoint import digests, digests_left
from vqcheck.live.ranks import differing
from vqcheck.live.tensor_change import Write
from vqcheck.live.watch import EncoderWatch
from vqcheck.replay.strategies import Strategy
from vqcheck.replay.subject import StepReport, Subject, TrainingCode, in_one_line
from vqcheck.replay.trace import MOST_FURTHER, Arm, ArmVerdict, FirstWrite, LossRange, Plan, Replay, StepTrace
from vqcheck.synthesizer import SynthesizerError

MAX_KEPT: Final = 2_000
"""Steps that are kept at most; beyond it every second one is dropped, as often as needed."""
_MAX_TIMES: Final = 1_000


class TraceRecorder:
    """Keeps the steps of one arm in bounded memory, and what must be known of all of them."""

    def __init__(self) -> None:
        self.kept_every = 1
        self.steps_run = 0
        self.first_changed: dict[str, int] = {}
        self.rank_differences = 0
        self.skipped_steps: int | None = 0
        self._kept: list[StepTrace] = []
        self._last: StepTrace | None = None
        self._ranges: dict[str, LossRange] = {}
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

    def range_of(self, name: str) -> LossRange:
        """Return the range of `commit_loss` or `shadow_commit_loss` over all steps."""
        return self._ranges.get(name, LossRange(math.nan, math.nan))

    @property
    def median_seconds(self) -> float | None:
        return statistics.median(self._seconds) if self._seconds else None

    @property
    def median_tracing_seconds(self) -> float | None:
        return statistics.median(self._tracing) if self._tracing else None

    def _widen(self, name: str, value: float) -> None:
        if math.isfinite(value):
            old = self._ranges.get(name, LossRange(value, value))
            self._ranges[name] = LossRange(min(old.low, value), max(old.high, value))


class ArmRun:
    """One arm while it runs; `finish` gives its trace at any time."""

    def __init__(self, code: TrainingCode, strategy: Strategy, expected: ArmVerdict, steps: int) -> None:
        self.code, self._strategy, self._expected, self._planned = code, strategy, expected, steps
        self._encoder = find(code.module)
        self._watch = EncoderWatch(self._encoder)
        self._labels = {tensor.name: tensor.label for tensor in self._encoder.tensors}
        self._first_tokens = code.probe_tokens()
        self._digest_at_start = digests(code.module)
        self._digest_at_first_change: EncoderDigests | None = None
        self._recorder = TraceRecorder()
        self._caught: dict[str, tuple[int, Write]] = {}
        """Label -> the step in which the first write was caught, and the write."""
        self._traces_next = True
        self._uses_codebook: bool | None = None

    @property
    def steps_run(self) -> int:
        return self._recorder.steps_run

    def run(self, on_step: Callable[[StepTrace], None]) -> None:
        """Train for the planned number of steps, or until it has learned, and report each one."""
        while not self._recorder.is_done(self._planned, self._traces_next):
            on_step(self.step())

    def step(self) -> StepTrace:
        """Train once, and look at the VQ encoder."""
        number = self.steps_run + 1
        report = self.code.step(number, self._encoder if self._traces_next else None)
        trained = time.perf_counter()
        step = self._look(number, report)
        self._recorder.add(step, time.perf_counter() - trained)
        return step

    def finish(self, complete: bool, checkpoint: str | None = None) -> Arm:
        """Return the trace as far as it got."""
        recorder = self._recorder
        writes = [self._first_write(label, step) for label, step in recorder.first_changed.items()]
        return Arm(
            strategy=self._strategy.name,
            stops=self._strategy.stops,
            expected=self._expected,
            steps_run=recorder.steps_run,
            complete=complete,
            steps=recorder.steps,
            kept_every=recorder.kept_every,
            commit_loss=recorder.range_of("commit_loss"),
            shadow_commit_loss=recorder.range_of("shadow_commit_loss"),
            first_writes=tuple(sorted(writes, key=lambda write: write.first_changed_step)),
            digest_at_start=self._digest_at_start,
            digest_at_first_change=self._digest_at_first_change,
            digest_at_end=digests_left(self.code.module),
            rank_differences=recorder.rank_differences,
            median_seconds=recorder.median_seconds,
            tracing_seconds=recorder.median_tracing_seconds,
            checkpoint=checkpoint,
            skipped_steps=recorder.skipped_steps,
            uses_codebook=self._uses_codebook,
            parameters=self.code.moved_parameters(),
        )

    def _look(self, number: int, report: StepReport) -> StepTrace:
        """Compare everything with the start, and decide whether the next step is traced."""
        tensors = self._watch.look(report.writes.keys())
        if report.uses_codebook is not None:
            self._uses_codebook = bool(self._uses_codebook) or report.uses_codebook
        for name, write in report.writes.items():
            self._caught.setdefault(self._labels[name], (number, write))
        moved = {tensor.label for tensor in tensors if tensor.written or tensor.changed}
        new = moved - self._recorder.first_changed.keys()
        # a first change that was not caught in the act is attributed to the write of the step that follows
        self._traces_next = bool(new - self._caught.keys())
        if new and self._digest_at_first_change is None:
            self._digest_at_first_change = digests_left(self.code.module)
        return StepTrace(
            step=number,
            epoch=report.epoch,
            losses=report.losses,
            gradient_norms=report.gradient_norms,
            commit_loss=report.commit_loss,
            commit_loss_state=report.commit_loss_state,
            shadow_commit_loss=report.shadow_commit_loss,
            tensors=tensors,
            flipped_tokens=self._flipped(),
            learning_rate=report.learning_rate,
            seconds=report.seconds,
            differing_across_ranks=tuple(
                self._labels[name] for name in differing(self._encoder.now(), list(self._labels))
            ),
            optimizer_step_skipped=report.optimizer_step_skipped,
        )

    def _flipped(self) -> int:
        now, first = self.code.probe_tokens(), self._first_tokens
        if first is None:
            return 0
        # where no tokens can be derived any more, none is what it was
        return len(first) if now is None else int((now != first).sum())

    def _first_write(self, label: str, first_changed: int) -> FirstWrite:
        if label not in self._caught:
            return FirstWrite(label, first_changed, None)
        step, write = self._caught[label]
        return FirstWrite(
            label, first_changed, step, write.operator, write.file, write.line, write.function, write.called_from
        )


class Observer(Protocol):
    """Follows everything while it happens."""

    def begin(self, plan: Plan) -> None:
        """Note that everything is loaded, and what is going to run."""

    def arm(self, strategy: str) -> None:
        """Note that an arm begins."""

    def step(self, strategy: str, step: StepTrace) -> None:
        """Note a finished step."""


class Silent:
    """Watches nothing."""

    def begin(self, plan: Plan) -> None:
        pass

    def arm(self, strategy: str) -> None:
        pass

    def step(self, strategy: str, step: StepTrace) -> None:
        pass


def run_arms(subject: Subject, strategies: Sequence[Strategy], observer: Observer) -> Replay:
    """Start and run an arm for each strategy, and return their traces as far as they got.

    An interruption or a failure, such as memory that runs out, is raised only where no step was measured before it.
    """
    observer.begin(Plan(tuple(each.name for each in strategies), subject.config.replay.steps, subject.memory()))
    arms: list[Arm] = []
    failure = None
    for strategy in strategies:
        name, arm = strategy.name, None
        observer.arm(name)
        try:
            expected = ArmVerdict(subject.config.expected.get(name, strategy.expected))
            arm = ArmRun(subject.start(strategy), strategy, expected, subject.config.replay.steps)
            arm.run(lambda step, name=name: observer.step(name, step))  # type: ignore[misc]
            arms.append(arm.finish(complete=True, checkpoint=subject.saved(arm.code, name, arm.steps_run)))
        except (KeyboardInterrupt, VqcheckError, SynthesizerError, RuntimeError, MemoryError) as error:
            if arm and arm.steps_run:
                arms.append(arm.finish(complete=False))
            if not arms:
                raise
            if not isinstance(error, KeyboardInterrupt):
                why = str(error) if isinstance(error, VqcheckError) else in_one_line(error)
                failure = tr("{name}: {text}", name=name, text=why)
            return Replay(subject.setting(), tuple(arms), complete=False, failure=failure)
    return Replay(subject.setting(), tuple(arms), complete=True)
