"""An arm of training code that is not ours: whatever a step does, its VQ encoder is looked at after it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor, nn

from vqcheck.codebook.digest import EncoderDigests
from vqcheck.live.encoder import LiveEncoder, find
from vqcheck.live.module_checkpoint import digests, digests_left
from vqcheck.live.tensor_change import Write
from vqcheck.live.watch import EncoderWatch
from vqcheck.replay.attribution import Attribution
from vqcheck.replay.recorder import Recorder
from vqcheck.replay.strategies import Strategy
from vqcheck.replay.trace import NOT_REPORTED, Arm, StepTrace

NOT_A_NUMBER = float("nan")


@dataclass(frozen=True)
class StepReport:
    """What training code says about one step of its own; a figure that it does not know is not a number."""

    losses: Mapping[str, float]
    commit_loss: float = NOT_A_NUMBER
    commit_loss_state: str = NOT_REPORTED
    shadow_commit_loss: float = NOT_A_NUMBER
    gradient_norms: Mapping[str, float] = field(default_factory=dict)
    learning_rate: float = NOT_A_NUMBER
    epoch: int = 1
    seconds: float | None = None
    writes: Mapping[str, Write] = field(default_factory=dict)
    """The first write that changed bits, by the tensor's name in the module; only of steps with attribution."""
    optimizer_step_skipped: bool | None = None
    """Whether the gradient scaler skipped the generator's optimizer step."""
    uses_codebook: bool = False
    """Whether an operator took a tensor of the VQ encoder; only of steps with attribution."""


class Observed(Protocol):
    """Training code, run step by step."""

    @property
    def module(self) -> nn.Module:
        """The module that holds the VQ encoder, or a mirror of it that is up to date after each step."""

    def step(self, number: int, traced: LiveEncoder | None) -> StepReport:
        """Train once; with a VQ encoder to be traced, tell what wrote to its tensors."""

    def probe_tokens(self) -> Tensor | None:
        """Return the tokens of the probe as the VQ encoder stands now; None without a probe."""


class ObservedArm:
    """One arm while it runs; `finish` gives its trace at any time."""

    def __init__(self, code: Observed, strategy: Strategy, expected: str, steps: int) -> None:
        self._code, self._strategy, self._expected, self._steps = code, strategy, expected, steps
        self._encoder = find(code.module)
        self._watch = EncoderWatch(self._encoder)
        self._first_tokens = code.probe_tokens()
        self._digest_at_start = digests(code.module)
        self._digest_at_first_change: EncoderDigests | None = None
        self._recorder = Recorder()
        self._attribution = Attribution()
        self._uses_codebook = False

    @property
    def steps_run(self) -> int:
        return self._recorder.steps_run

    def run(self, on_step: Callable[[StepTrace], None]) -> None:
        """Train for the configured number of steps, or until it has learned, and report each one."""
        while not self._recorder.is_done(self._steps, self._attribution.is_due):
            number = self.steps_run + 1
            report = self._code.step(number, self._encoder if self._attribution.is_due else None)
            trained = time.perf_counter()
            step = self._look(number, report)
            self._recorder.add(step, time.perf_counter() - trained)
            on_step(step)

    def finish(self, complete: bool, checkpoint: str | None = None) -> Arm:
        """Return the trace as far as it got."""
        recorder = self._recorder
        return Arm(
            strategy=self._strategy.name,
            stops=self._strategy.stops,
            expected=self._expected,
            steps_run=recorder.steps_run,
            complete=complete,
            steps=recorder.steps,
            kept_every=recorder.kept_every,
            commit_loss=recorder.extent("commit_loss"),
            shadow_commit_loss=recorder.extent("shadow_commit_loss"),
            first_writes=self._attribution.first_writes(recorder.first_changed),
            digest_at_start=self._digest_at_start,
            digest_at_first_change=self._digest_at_first_change,
            digest_at_end=digests_left(self._code.module),
            rank_differences=0,
            median_seconds=recorder.median_seconds,
            tracing_seconds=recorder.median_tracing_seconds,
            checkpoint=checkpoint,
            skipped_steps=recorder.skipped_steps,
            uses_codebook=self._uses_codebook,
        )

    def _look(self, number: int, report: StepReport) -> StepTrace:
        tensors = self._watch.look(report.writes)
        writes = {each.label: report.writes[each.name] for each in self._encoder.tensors if each.name in report.writes}
        self._uses_codebook = self._uses_codebook or report.uses_codebook
        seen = self._recorder.first_changed
        is_new = self._attribution.note(number, writes, tensors, seen)
        if is_new and self._digest_at_first_change is None:
            self._digest_at_first_change = digests_left(self._code.module)
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
            differing_across_ranks=(),
            optimizer_step_skipped=report.optimizer_step_skipped,
        )

    def _flipped(self) -> int:
        now = self._code.probe_tokens()
        if now is None or self._first_tokens is None:
            return 0
        return int((now != self._first_tokens).sum())
