"""The view of a replay while it runs: one line for each arm, on a terminal of any width."""

import io

import pytest

from vqcheck.replay.trace import COMPUTED, OFF, StepTrace, TensorStep
from vqcheck.report.render.live_view import LiveView


def step(number, *, moved):
    codes = TensorStep("codes", moved, moved, 64 * moved, 64, number * 1.0 * moved, 0.5 * moved)
    loss, state = (0.25, COMPUTED) if moved else (0.0, OFF)
    return StepTrace(number, 1, {}, {}, loss, state, 0.25, (codes,), 3 * moved, 1e-4, 0.1, ())


@pytest.mark.parametrize("columns", [80, 120])
def test_the_live_view_fits_the_terminal(columns):
    """One line for each arm, begun or waiting, none wider than the terminal at any time."""
    view = LiveView(io.StringIO(), ["requires-grad", "eval-in-forward", "maybe-no-grad"], 100)
    for number in range(1, 90):
        view.step("requires-grad", step(number, moved=True))
        view.step("eval-in-forward", step(number, moved=False))
    lines = [line.plain.rstrip() for line in view.lines(columns)]
    assert max(map(len, lines)) <= columns
    assert lines[1].startswith("requires-grad    89/100 ")
    assert lines[1].endswith("drifted")
    assert " off " in lines[2]
    assert lines[2].endswith("still")
    assert lines[3] == "maybe-no-grad     0/100 waiting"
