"""Runs arm after arm, whatever it is that trains, and keeps what was measured when it is interrupted or fails."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from vqcheck.errors import VqcheckError
from vqcheck.replay.own_error import in_one_line
from vqcheck.replay.trace import Arm, StepTrace
from vqcheck.synthesizer import SynthesizerError


class Observer(Protocol):
    """Told of everything while it happens."""

    def arm(self, strategy: str) -> None:
        """Note that an arm begins."""

    def step(self, strategy: str, step: StepTrace) -> None:
        """Note a finished step."""


class Silent:
    """Watches nothing."""

    def arm(self, strategy: str) -> None:
        pass

    def step(self, strategy: str, step: StepTrace) -> None:
        pass


class Runnable(Protocol):
    """One arm while it runs."""

    @property
    def steps_run(self) -> int:
        """Steps so far."""

    def run(self, on_step: Callable[[StepTrace], None]) -> None:
        """Train for the configured number of steps and report each one."""

    def finish(self, complete: bool, checkpoint: str | None = None) -> Arm:
        """Return the trace as far as it got."""


AnyArm = TypeVar("AnyArm", bound=Runnable)


@dataclass(frozen=True)
class Ran:
    """What came of all arms."""

    arms: tuple[Arm, ...]
    complete: bool = True
    """All of them were run to the end."""
    failure: str | None = None
    """What ended them, unless somebody did; in one line that names the arm."""


def run_arms(
    makers: Mapping[str, Callable[[], AnyArm]],
    observer: Observer,
    save: Callable[[AnyArm, str], str | None] = lambda *_: None,
) -> Ran:
    """Make and run each arm; return their traces, as far as they got.

    An interruption or a failure, such as memory that runs out, is raised only where no step was measured before it.
    `save` keeps an arm's checkpoint under the strategy's name, and returns its path.
    """
    arms: list[Arm] = []
    for name, make in makers.items():
        observer.arm(name)
        arm = None
        try:
            arm = make()
            arm.run(lambda step, name=name: observer.step(name, step))  # type: ignore[misc]
            arms.append(arm.finish(complete=True, checkpoint=save(arm, name)))
        except (KeyboardInterrupt, VqcheckError, SynthesizerError, RuntimeError, MemoryError) as error:
            if arm and arm.steps_run:
                arms.append(arm.finish(complete=False))
            if not arms:
                raise
            if isinstance(error, KeyboardInterrupt):
                return Ran(tuple(arms), complete=False)
            text = str(error) if isinstance(error, VqcheckError) else in_one_line(error)
            return Ran(tuple(arms), complete=False, failure=f"{name}: {text}")
    return Ran(tuple(arms))
