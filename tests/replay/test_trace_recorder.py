"""The trace stays bounded, and what must be known of every step survives that."""

import itertools
import math

import pytest

from vqcheck.replay import arm_run as module
from vqcheck.replay.arm_run import TraceRecorder
from vqcheck.replay.trace import MOST_FURTHER, CommitLossState, StepTrace, TensorStep


def step(number, commit_loss=0.5, changed=False, seconds=0.01, differing=(), skipped=None):
    tensor = TensorStep("codes", changed, changed, int(changed), 4, 0.0, 0.0)
    return StepTrace(
        number,
        1,
        {},
        {},
        commit_loss,
        CommitLossState.COMPUTED,
        commit_loss,
        (tensor,),
        0,
        1e-4,
        seconds,
        tuple(differing),
        skipped,
    )


def test_long_traces_are_thinned(monkeypatch):
    """However many steps there are, few are kept; the first and the last are among them, evenly spread."""
    monkeypatch.setattr(module, "MAX_KEPT", 16)
    recorder = TraceRecorder()
    for number in range(1, 1001):
        recorder.add(step(number), 0.001)
    kept = [each.step for each in recorder.steps]
    assert len(kept) <= 17
    assert (kept[0], kept[-1], recorder.steps_run) == (1, 1000, 1000)
    assert {b - a for a, b in itertools.pairwise(kept[:-1])} == {recorder.kept_every}


def test_what_happened_in_a_dropped_step_is_remembered(monkeypatch):
    """First change, range of the loss and differences between processes come from all steps, kept or not."""
    monkeypatch.setattr(module, "MAX_KEPT", 4)
    recorder = TraceRecorder()
    for number in range(1, 101):
        recorder.add(step(number, 9.0 if number == 50 else 1.0, number >= 42, differing=["codes"] * (number == 60)), 0)
    assert 50 not in [each.step for each in recorder.steps]
    assert recorder.first_changed == {"codes": 42}
    assert (recorder.range_of("commit_loss").low, recorder.range_of("commit_loss").high) == (1.0, 9.0)
    assert recorder.rank_differences == 1


def test_values_that_are_not_finite_stay_out_of_ranges():
    """A loss that overflowed does not become the range's limit; with no finite one there is no range."""
    recorder = TraceRecorder()
    recorder.add(step(1, math.nan), 0)
    assert math.isnan(recorder.range_of("commit_loss").low)
    recorder.add(step(2, 0.25), 0)
    recorder.add(step(3, math.inf), 0)
    assert recorder.range_of("commit_loss").high == 0.25


def test_times_come_from_steps_without_attribution():
    """Steps that attribution slowed have no part in the median."""
    recorder = TraceRecorder()
    recorder.add(step(1, seconds=None), 5.0)
    assert recorder.median_seconds is None
    for number, seconds in ((2, 0.1), (3, 0.3), (4, 0.2)):
        recorder.add(step(number, seconds=seconds), seconds / 10)
    assert recorder.median_seconds == pytest.approx(0.2)
    assert recorder.median_tracing_seconds == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("skips", "due", "steps"),
    [
        ([None] * 9, False, 3),
        ([False] * 9, True, 3),
        ([True, False, True, True], False, 3),
        ([True, True, True, True, False, False], False, 5),
        ([True] * 99, False, 3 + MOST_FURTHER),
        ([True] * 3 + [False] * 99, True, 3 + MOST_FURTHER),
    ],
    ids=["unknown", "none skipped", "some skipped", "all planned ones skipped", "all skipped", "never attributed"],
)
def test_an_arm_is_run_on_only_while_skipped_steps_leave_something_open(skips, due, steps):
    """Three steps are planned: more are run until one is taken and what it wrote is attributed, and not for ever."""
    recorder = TraceRecorder()
    for number, skipped in enumerate(skips, start=1):
        if recorder.is_done(3, due):
            break
        recorder.add(step(number, skipped=skipped), 0)
    assert recorder.steps_run == steps
    assert recorder.skipped_steps == (None if None in skips else sum(skips[:steps]))


def test_every_skipped_step_is_counted_kept_or_not(monkeypatch):
    """Thinning the trace loses no count."""
    monkeypatch.setattr(module, "MAX_KEPT", 4)
    recorder = TraceRecorder()
    for number in range(1, 101):
        recorder.add(step(number, skipped=number % 3 == 0), 0)
    assert recorder.skipped_steps == 33
