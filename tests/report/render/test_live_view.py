"""The view of a replay while it runs: one line for each arm, on a terminal of any width."""

import io

import pytest

from vqcheck.replay.trace import CommitLossState, Plan, StepTrace, TensorStep
from vqcheck.report.render.live_view import LiveView, ProgressLines


def step(number, *, moved):
    codes = TensorStep("codes", moved, moved, 64 * moved, 64, number * 1.0 * moved, 0.5 * moved)
    loss, state = (0.25, CommitLossState.COMPUTED) if moved else (0.0, CommitLossState.OFF)
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


@pytest.mark.parametrize("between", [0.5, 4.0])
def test_lines_say_what_it_will_take_and_how_it_goes(between):
    """The plan before the first step; the seconds a step once measured; then each arm, and a line now and then."""
    now, stream = [0.0], io.StringIO()
    lines = ProgressLines(stream, clock=lambda: now[0])
    lines.begin(Plan(("none", "freeze"), 6, 3 * 2**30))
    plan = stream.getvalue()
    assert all(fact in plan for fact in ("2 arms", "6 steps", "3.0 GiB"))
    for strategy in ("none", "freeze"):
        lines.arm(strategy)
        for number in range(1, 7):
            now[0] += between
            lines.step(strategy, step(number, moved=True))
    said = stream.getvalue().removeprefix(plan).splitlines()
    assert f"{between:.2g} s a step, about {between * 10:.0f} s left" in said[1]
    assert "freeze" in said[-1] or between > 1
    assert (len(said) == 3) == (between < 1)
    assert len(said) <= 7


def test_memory_that_is_not_known_is_not_said():
    stream = io.StringIO()
    ProgressLines(stream).begin(Plan(("as-is",), 1, None))
    assert "1 arm of 1 steps" in stream.getvalue()
    assert "iB" not in stream.getvalue()
