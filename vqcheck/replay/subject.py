"""What can be replayed: a subject starts training code under a strategy, and the code says what each step did.

The child process of a checkout fills in the same reports, so this runs on Python 3.9.
"""

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from vqcheck.live.first_write import is_foreign
from vqcheck.replay.trace import CommitLossState

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vqcheck.experiment.config import Config
    from vqcheck.live.encoder import LiveEncoder
    from vqcheck.live.tensor_change import Write
    from vqcheck.replay.strategies import Strategy
    from vqcheck.replay.trace import PartMoves, Setting

NOT_A_NUMBER = float("nan")


@dataclass(frozen=True)
class StepReport:
    """What training code says about one step of its own; a figure that it does not know is not a number."""

    losses: Mapping[str, float]
    commit_loss: float = NOT_A_NUMBER
    commit_loss_state: CommitLossState = CommitLossState.NOT_REPORTED
    shadow_commit_loss: float = NOT_A_NUMBER
    gradient_norms: Mapping[str, float] = field(default_factory=dict)
    learning_rate: float = NOT_A_NUMBER
    epoch: int = 1
    seconds: float | None = None
    """None for a step with attribution, which slows it."""
    writes: Mapping[str, Write] = field(default_factory=dict)
    """The first write that changed bits, by the tensor's name; only of steps with attribution."""
    optimizer_step_skipped: bool | None = None
    """Whether the gradient scaler skipped the generator's optimizer step."""
    uses_codebook: bool | None = None
    """Whether a tensor of the VQ encoder was used; None where that goes without saying."""


class TrainingCode(Protocol):
    """Training code under one strategy, run step by step."""

    @property
    def module(self) -> nn.Module:
        """The module that holds the VQ encoder, or a mirror of it that is up to date after each step."""

    def step(self, number: int, traced: LiveEncoder | None) -> StepReport:
        """Train once, counted from 1; with the VQ encoder of `module`, say who wrote to it.

        Raises:
            UsageError: the step failed.

        """

    def probe_tokens(self) -> Tensor | None:
        """Return the tokens of the probe as the VQ encoder stands now; None without a probe."""

    def moved_parameters(self) -> tuple[PartMoves, ...]:
        """Return which parameters moved since the start, by part; nothing where that is not watched."""


class Subject(ABC):
    """What is trained, and how it is started anew for each arm."""

    def __init__(self, config: Config) -> None:
        self.config = config

    @abstractmethod
    def opened(self, save: str | None) -> AbstractContextManager[None]:
        """Find out everything that can be wrong, and load what the arms share; give it back at the end.

        `save` is a folder for each arm's final checkpoint.

        Raises:
            UsageError, CheckpointError: something in the configuration keeps the replay from starting.

        """

    @abstractmethod
    def start(self, strategy: Strategy) -> TrainingCode:
        """Return training code under a strategy; the same weights, data and random state each time.

        Raises:
            UsageError, NoCodebookError: it cannot be made, or holds no codebook that is known.

        """

    @abstractmethod
    def setting(self) -> Setting:
        """Return what was replayed, in what surroundings."""

    def memory(self) -> int | None:
        """Return how many bytes training takes at least; None where it is not known."""
        return None

    def saved(self, code: TrainingCode, strategy: str, steps: int) -> str | None:  # noqa: ARG002
        """Save the final checkpoint of an arm, and return its path; None where nothing is to be saved."""
        return None


def in_one_line(error: BaseException) -> str:
    """Return type, text and place of an error of the user's code.

    The place is the innermost line that is no package's; in want of one, the innermost that is not torch's, Python's or
    vqcheck's.
    """
    text = " ".join(str(error).split())
    shown = f"{type(error).__name__}: {text}" if text else type(error).__name__
    frames = [each for each in traceback.extract_tb(error.__traceback__) if not is_foreign(each.filename)]
    own = [each for each in frames if "site-packages" not in each.filename and "dist-packages" not in each.filename]
    for frame in (own or frames)[-1:]:
        return f"{shown} ({frame.filename}:{frame.lineno} in {frame.name})"
    return shown
