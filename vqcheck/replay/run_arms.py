"""Runs arm after arm, whatever it is that trains, and keeps what was measured when somebody interrupts."""

from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from vqcheck.replay.trace import Arm, StepTrace


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


def run_arms(
    makers: Mapping[str, Callable[[], AnyArm]],
    observer: Observer,
    save: Callable[[AnyArm, str], str | None] = lambda *_: None,
) -> tuple[tuple[Arm, ...], bool]:
    """Make and run each arm; return the traces, and whether all of them were run to the end.

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
        except KeyboardInterrupt:
            if arm and arm.steps_run:
                arms.append(arm.finish(complete=False))
            if not arms:
                raise
            return tuple(arms), False
    return tuple(arms), True
