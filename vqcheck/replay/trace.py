"""What a replay found: plain values that any report can show without torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vqcheck.live.tensor_change import SourceLine as SourceLine  # noqa: PLC0414 - part of a trace
from vqcheck.live.tensor_change import TensorStep as TensorStep  # noqa: PLC0414
from vqcheck.word_enum import VerdictEnum, WordEnum

if TYPE_CHECKING:
    from vqcheck.codebook.digest import EncoderDigests


class ArmVerdict(WordEnum):
    """What the VQ encoder did in an arm."""

    DRIFTED = "drifted"
    FROZEN = "frozen"
    NOT_MEASURED = "not measured"


class ReplayVerdict(VerdictEnum):
    """What all arms together show."""

    AS_EXPECTED = "as expected", 0
    NOT_AS_EXPECTED = "not as expected", 1
    INCONCLUSIVE = "inconclusive", 2
    INCOMPLETE = "incomplete", 2


class CommitLossState(WordEnum):
    """Whether training code computes its commitment loss; in eval mode it is 0 whatever the distance to the codes."""

    COMPUTED = "computed"
    OFF = "off (eval mode)"
    NOT_REPORTED = "not reported"


AS_IS: Final = "as-is"
"""The arm of a user's own code with nothing done to it."""

MOST_FURTHER: Final = 40
"""Steps that an arm is run beyond its number at most. A gradient scaler starts at 2^16 and halves with each step that
it skips, so after 40 of them gradients would overflow at a scale of 2^-24: they are not finite in themselves."""


@dataclass(frozen=True)
class Plan:
    """What a replay is going to take."""

    strategies: tuple[str, ...]
    """The arms, in order."""
    steps: int
    """Of each arm."""
    memory: int | None
    """Bytes that weights, gradients and optimizers take, without activations; None where it is not known."""


@dataclass(frozen=True)
class StepTrace:
    """One training step."""

    step: int
    epoch: int
    losses: Mapping[str, float]
    """discriminator, generator, feature, mel and kl, weighted as they are summed; other code has names of its own."""
    gradient_norms: Mapping[str, float]
    """Of both networks; upstream measures them and clips nothing."""
    commit_loss: float
    """As upstream reports it; not a number where other code reports none."""
    commit_loss_state: CommitLossState
    shadow_commit_loss: float
    """Mean squared distance of the projected frames to their codes, computed whatever the mode.

    Not a number where other code is run, whose frames are not known.
    """
    tensors: tuple[TensorStep, ...]
    flipped_tokens: int
    """Tokens of the probe that are other ones than at the start."""
    learning_rate: float
    """Not a number where other code does not say."""
    seconds: float | None
    """Duration without the tracing; None for steps with attribution, which slows them."""
    differing_across_ranks: tuple[str, ...]
    """Labels of tensors that are not the same on every process."""
    optimizer_step_skipped: bool | None = None
    """The gradient scaler skipped the generator's optimizer step, as it does while gradients overflow half precision.

    None where other code does not say.
    """

    @property
    def drift(self) -> float:
        """How far all codes together are from the start, or what they are calculated from where they are not stored."""
        return math.hypot(*(tensor.l2 for tensor in self.tensors if tensor.holds_codes))


@dataclass(frozen=True)
class FirstWrite:
    """The first write that changed bits of one tensor."""

    label: str
    first_changed_step: int
    traced_step: int | None
    """The step in which the write was caught; None where it was not attributed."""
    operator: str = ""
    """The aten operator, such as `aten.copy_.default`."""
    file: str = ""
    line: int = 0
    function: str = ""
    called_from: SourceLine | None = None
    """The innermost line of the user's own code, where the write itself is a library's."""


@dataclass(frozen=True)
class PartMoves:
    """How many parameters of one part of a generator moved over an arm."""

    part: str
    """`lora_A`, `lora_B`, or the name of a module."""
    learning: int
    """Parameters that learn, `requires_grad`."""
    learning_moved: int
    held: int
    """Those that do not."""
    held_moved: int


MUST_LEARN: Final = ("lora_B", "bridge", "wns1")
"""Parts that have a gradient from the first step of LoRA training on; that of `lora_A` is 0 there, since B is."""


@dataclass(frozen=True)
class LossRange:
    """Smallest and greatest value over all steps; not a number where no value was finite."""

    low: float
    high: float


@dataclass(frozen=True)
class Arm:
    """One strategy, replayed."""

    strategy: str
    stops: str
    """What it really stops, in one sentence."""
    expected: ArmVerdict
    steps_run: int
    complete: bool
    steps: tuple[StepTrace, ...]
    """Every step, or every `kept_every`-th where there were too many to keep; the last one is always there."""
    kept_every: int
    commit_loss: LossRange
    shadow_commit_loss: LossRange
    first_writes: tuple[FirstWrite, ...]
    """One for each tensor that ever changed, by step and label."""
    digest_at_start: EncoderDigests
    digest_at_first_change: EncoderDigests | None
    digest_at_end: EncoderDigests
    rank_differences: int
    """Steps after which the VQ encoder was not the same on every process."""
    median_seconds: float | None
    """Of a step, without tracing and without steps with attribution."""
    tracing_seconds: float | None
    """Median time of the tracing after a step."""
    checkpoint: str | None = None
    """Where the final generator was saved."""
    skipped_steps: int | None = None
    """Optimizer steps of the generator that the gradient scaler skipped; None where other code does not say.

    An arm of which every step was skipped is run on, up to `MOST_FURTHER` steps.
    """
    uses_codebook: bool | None = None
    """Whether an operator of a traced step took a tensor of the VQ encoder; None in our own step, which does."""
    parameters: tuple[PartMoves, ...] = ()
    """Of LoRA training: which parameters of the generator moved, by part."""

    @property
    def verdict(self) -> ArmVerdict:
        if self.first_writes or self.rank_differences:
            return ArmVerdict.DRIFTED
        learned = not self.never_learned and not self.idle_parts
        return ArmVerdict.FROZEN if self.complete and self.steps_run and learned else ArmVerdict.NOT_MEASURED

    @property
    def idle_parts(self) -> tuple[str, ...]:
        """Parts that LoRA training must move, and did not."""
        return tuple(
            each.part
            for each in self.parameters
            if each.part in MUST_LEARN and each.learning and not each.learning_moved
        )

    @property
    def moved_though_held(self) -> tuple[str, ...]:
        """Parts of which parameters moved that learn nothing."""
        return tuple(each.part for each in self.parameters if each.held_moved)

    @property
    def never_learned(self) -> bool:
        """Every optimizer step was skipped, so that what gradients train stands still whatever the strategy is."""
        return self.steps_run > 0 and self.skipped_steps == self.steps_run

    @property
    def is_control(self) -> bool:
        """The arm must drift, or else the replay proves nothing about the others."""
        return self.expected == ArmVerdict.DRIFTED

    @property
    def as_expected(self) -> bool:
        return self.verdict == self.expected and not self.moved_though_held


@dataclass(frozen=True)
class Setting:
    """What was replayed, in what surroundings."""

    subject: str
    weights: str
    data: str
    steps: int
    batch_size: int | None
    """None where other code makes its own batches."""
    seed: int
    device: str
    precision: str | None
    """fp32 or fp16; None where other code decides."""
    processes: int
    torch: str
    probe_tokens: int
    notes: tuple[str, ...] = ()
    code: str | None = None
    """The user's own code: `module:function` of a factory, or the path of a checkout; None for vqcheck's."""


@dataclass(frozen=True)
class Replay:
    """All arms of one replay; each started from the same weights, data and random state."""

    setting: Setting
    arms: tuple[Arm, ...]
    complete: bool
    failure: str | None = None
    """What ended it early, unless somebody interrupted it; one line that names the arm."""

    @property
    def verdict(self) -> ReplayVerdict:
        if not self.complete or not self.arms or any(arm.verdict == ArmVerdict.NOT_MEASURED for arm in self.arms):
            return ReplayVerdict.INCOMPLETE
        if not self._proves_something:
            return ReplayVerdict.INCONCLUSIVE
        return ReplayVerdict.AS_EXPECTED if all(arm.as_expected for arm in self.arms) else ReplayVerdict.NOT_AS_EXPECTED

    @property
    def lacks_control(self) -> bool:
        """Our own step was replayed, which needs a control, and the configuration expects every arm to be frozen."""
        return all(arm.uses_codebook is None and not arm.is_control for arm in self.arms)

    @property
    def _proves_something(self) -> bool:
        """A control arm drifted; without one, as for a factory, every arm at least used its codebook."""
        controls = [arm for arm in self.arms if arm.is_control]
        if controls:
            return any(arm.verdict == ArmVerdict.DRIFTED for arm in controls)
        if self.lacks_control:
            return any(arm.verdict == ArmVerdict.DRIFTED for arm in self.arms)
        return all(arm.uses_codebook or arm.verdict == ArmVerdict.DRIFTED for arm in self.arms)

    @property
    def exit_code(self) -> int:
        return self.verdict.exit_code
