"""The replay: everything that can be wrong is found out first, then arm after arm is run."""

from typing import TYPE_CHECKING

from vqcheck.errors import UsageError
from vqcheck.experiment.config import Config
from vqcheck.language import tr
from vqcheck.replay.arm_run import Observer, Silent, run_arms
from vqcheck.replay.learning import MakeScaler, gradient_scaler
from vqcheck.replay.strategies import chosen_strategies
from vqcheck.replay.trace import Replay
from vqcheck.synthesizer import SynthesizerError

if TYPE_CHECKING:
    from vqcheck.replay.subject import Subject


def replay(
    config: Config,
    observer: Observer | None = None,
    save: str | None = None,
    *,
    make_scaler: MakeScaler = gradient_scaler,
) -> Replay:
    """Run every chosen strategy on the same start, and return what was measured.

    An interruption (Ctrl-C) or a failure in the middle ends it early: what was measured so far is returned, not
    complete. `save` is a folder for each arm's final checkpoint, `make_scaler` makes our own step's gradient scaler.

    Raises:
        UsageError, CheckpointError, NoCodebookError: something keeps it from starting.

    """
    subject, strategies = subject_of(config, make_scaler), chosen_strategies(config)
    try:
        with subject.opened(save):
            return run_arms(subject, strategies, observer or Silent())
    except SynthesizerError as error:
        raise UsageError(tr("data and model do not fit: {reason}", reason=str(error))) from None


def planned(config: Config) -> list[str]:
    """Return the names of the arms that a replay will have.

    Raises:
        UsageError: a strategy is unknown, or the subject is not replayed like this.

    """
    subject_of(config)
    return [strategy.name for strategy in chosen_strategies(config)]


def subject_of(config: Config, make_scaler: MakeScaler = gradient_scaler) -> "Subject":
    """Return what the configuration says is trained.

    Raises:
        UsageError: it says two things, or something that is not replayed like this.

    """
    if config.subject.factory and config.subject.checkout:
        raise UsageError(tr("subject: factory and checkout exclude each other"))
    if config.subject.factory:
        from vqcheck.replay.factory_subject import FactorySubject

        return FactorySubject(config)
    if config.subject.checkout:
        from vqcheck.replay.checkout.checkout_subject import CheckoutSubject

        return CheckoutSubject(config)
    from vqcheck.replay.own_subject import OwnSubject

    return OwnSubject(config, make_scaler)
