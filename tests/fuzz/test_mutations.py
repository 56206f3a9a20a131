"""Structure-aware mutations of real small files, drawn by hypothesis: a result, or a refusal in one line."""

import os
import tempfile

import pytest
from fuzz import targets
from fuzz.watch import Watch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder():
    """A folder with the sound files around an input, once every module is imported."""
    with tempfile.TemporaryDirectory() as path:
        targets.prepare(path)
        yield path


@pytest.fixture(scope="module")
def watch(folder):
    # The limit that the other fuzzing runs under would be for good, and this process has more to do.
    return Watch(folder, traced=True)


def inputs(target):
    """Return a strategy of saved files that were mutated once to three times."""

    def mutated(data, random, times):
        for _ in range(times):
            data = target.mutate(data, random)
        return data

    seeds = st.sampled_from(list(target.seeds().values()))
    return st.builds(mutated, seeds, st.randoms(use_true_random=False), st.integers(1, 3))


@pytest.mark.parametrize("name", targets.TARGETS)
def test_a_mutated_file_is_read_or_refused_and_does_nothing_else(name, folder, watch):
    target = targets.TARGETS[name]
    outcomes = set()

    @settings(
        max_examples=150,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )
    @given(data=inputs(target))
    def check(data):
        path = target.place(folder, data)
        try:
            outcomes.add(watch.run(lambda: target.read(folder, path)))
        finally:
            os.remove(path)

    check()
    # Neither only sound files nor only rubbish.
    assert len(outcomes) > 1
