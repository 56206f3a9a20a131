"""What the replay's tests share: small configurations, and one replay of all strategies that many tests look at."""

import pytest


def tiny(strategies, steps=2, **sections):
    """Return a configuration of the tiny subject on little data."""
    from vqcheck.experiment.config import Config

    base = {"data": {"generated_items": 6}, "training": {"batch_size": 2}}
    return Config.model_validate({**base, **sections, "replay": {"strategies": list(strategies), "steps": steps}})


@pytest.fixture(scope="session")
def every_strategy():
    """The replay of all strategies over three steps, run once."""
    from vqcheck.replay.run import replay
    from vqcheck.replay.strategies import STRATEGIES

    return replay(tiny(STRATEGIES, steps=3))


@pytest.fixture(scope="session")
def arms(every_strategy):
    """Its arms by strategy."""
    return {arm.strategy: arm for arm in every_strategy.arms}


@pytest.fixture
def config():
    """Returns `tiny`, to make configurations."""
    return tiny
