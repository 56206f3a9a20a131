"""Replays the training code that a factory returns, in this process."""

from functools import partial

import torch

from vqcheck.errors import UsageError
from vqcheck.experiment.config import Config
from vqcheck.live.freeze import freeze
from vqcheck.replay import ranks
from vqcheck.replay.live_code import LiveCode
from vqcheck.replay.observed import ObservedArm
from vqcheck.replay.own_code import load_factory
from vqcheck.replay.run_arms import Observer, run_arms
from vqcheck.replay.strategies import FACTORY_STRATEGIES, FREEZE, Strategy, choose
from vqcheck.replay.trace import AS_IS, Replay, Setting

_DECIDED_BY_FACTORY = ("data", "training", "model", "discriminator", "spectrogram")


def replay_factory(config: Config, observer: Observer, save: str | None) -> Replay:
    """Run the factory's code as it is, and under what else was chosen; each arm calls the factory anew.

    Raises:
        UsageError: it cannot be imported, raises, or does not fill in the protocol.
        NoCodebookError: its module holds no codebook that is known.

    """
    name = str(config.subject.factory)
    _refuse_what_has_no_meaning(config, save)
    strategies = chosen(config)
    factory = load_factory(name)
    made: list[LiveCode] = []

    def arm(strategy: Strategy) -> ObservedArm:
        code = LiveCode(factory, name, config.replay.seed)
        made.append(code)
        if strategy.name == FREEZE:
            freeze(code.module)
        expected = config.expected.get(strategy.name, strategy.expected)
        return ObservedArm(code, strategy, expected, config.replay.steps)

    with torch.random.fork_rng():
        ran = run_arms({strategy.name: partial(arm, strategy) for strategy in strategies}, observer)
    return Replay(_setting(config, name, made[0]), ran.arms, ran.complete, ran.failure)


def chosen(config: Config) -> list[Strategy]:
    """Return the arms: the code as it is first, then what was named.

    Raises:
        UsageError: a strategy is unknown, or cannot be applied to any code.

    """
    choose(list(config.expected), FACTORY_STRATEGIES)
    # the default strategies are those of our synthesizer
    named = config.replay.strategies if "strategies" in config.replay.model_fields_set else []
    return choose([AS_IS, *named], FACTORY_STRATEGIES)


def _refuse_what_has_no_meaning(config: Config, save: str | None) -> None:
    for section in _DECIDED_BY_FACTORY:
        if getattr(config, section) != type(getattr(config, section))():
            raise UsageError(f"subject.factory: its own code decides, so nothing under {section} has an effect")
    if config.replay.device != "auto" or config.replay.precision != "auto":
        raise UsageError("subject.factory: its own code decides on device and precision")
    if save:
        raise UsageError("subject.factory: --save writes checkpoints of the synthesizer; save your own in step()")
    if ranks.world_size() > 1:
        raise UsageError("subject.factory: is replayed in one process; run it without torchrun")


def _setting(config: Config, name: str, code: LiveCode) -> Setting:
    return Setting(
        subject="factory",
        weights="as the factory makes them",
        data="as its step takes them",
        steps=config.replay.steps,
        batch_size=None,
        seed=config.replay.seed,
        device=str(next(iter(code.module.state_dict().values())).device),
        precision=None,
        processes=1,
        torch=str(torch.__version__),
        probe_tokens=code.probe_size,
        code=name,
    )
