"""Reports on a replay: whatever was measured can be shown, on every width."""

import dataclasses
import io
import math

import pytest
from vqcheck.report.csv.replay import table
from vqcheck.report.json.replay import document
from vqcheck.report.text.page import Style
from vqcheck.report.text.replay import summary
from vqcheck.report.text.replay_live import LiveView

from vqcheck.codebook.digest import F32V1, Digest, EncoderDigests
from vqcheck.replay.trace import (
    COMPUTED,
    DRIFTED,
    FROZEN,
    OFF,
    Arm,
    Extent,
    FirstWrite,
    Replay,
    Setting,
    StepTrace,
    TensorStep,
)
from vqcheck.report.render.sparkline import BARS, bars_for, sparkline

LOSSES = dict.fromkeys(("discriminator", "generator", "feature", "mel", "kl"), 1.0)
NORMS = {"discriminator": 1.0, "generator": math.inf}


def digests(letter):
    whole = Digest(F32V1, letter * 64)
    return EncoderDigests((("codes", whole),), whole, whole, whole)


def step(number, *, moved, commit_loss=0.25):
    codes = TensorStep("codes", moved, moved, 64 * moved, 64, number * 1.0 * moved, 0.5 * moved)
    state = COMPUTED if moved else OFF
    loss = commit_loss if moved else 0.0
    return StepTrace(number, 1, LOSSES, NORMS, loss, state, commit_loss, (codes,), 3 * moved, 1e-4, 0.1, ())


def arm(name, *, moved, steps=4, complete=True, commit_loss=0.25):
    writes = (
        FirstWrite("codes", 2, 3, "aten.copy_.default", "/somewhere/models.py", 12, "forward"),
        FirstWrite("ema_sum", 2, None),
    )
    return Arm(
        strategy=name,
        stops="Stops something, and this sentence is long enough to be broken on a narrow terminal.",
        expected=DRIFTED if moved else FROZEN,
        steps_run=steps,
        complete=complete,
        steps=tuple(step(i, moved=moved, commit_loss=commit_loss) for i in range(1, steps + 1)),
        kept_every=1,
        commit_loss=Extent(commit_loss, commit_loss) if moved else Extent(0.0, 0.0),
        shadow_commit_loss=Extent(0.2, 0.3),
        first_writes=writes if moved else (),
        digest_at_start=digests("a"),
        digest_at_first_change=digests("b") if moved else None,
        digest_at_end=digests("c" if moved else "a"),
        rank_differences=0,
        median_seconds=0.1,
        tracing_seconds=0.001,
    )


def replay(*arms, complete=True):
    setting = Setting("tiny", "fresh", "6 generated items", 4, 2, 1, "CPU", "fp32", 1, "2.13", 152, ("a note",))
    return Replay(setting, arms, complete)


BOTH = replay(arm("none", moved=True), arm("maybe-no-grad", moved=False))


@pytest.mark.parametrize("width", [20, 40, 80, 120])
def test_no_line_is_wider_than_the_terminal(width):
    """Whatever the width, lines are broken rather than cut, and nothing is lost."""
    text = summary(BOTH, Style(width=width))
    assert max(map(len, text.splitlines())) <= width
    words = {word for word in text.split() if len(word) < 12}
    assert words >= {"drifted", "frozen", "aten.copy_", "note:"}


def test_the_summary_says_where_the_write_came_from():
    """The first write is named with operator, file and line, and one that nobody was seen to make as not attributed."""
    text = summary(BOTH, Style())
    assert "step 2  codes    aten.copy_  /somewhere/models.py:12 in forward (seen in step 3)" in text
    assert "step 2  ema_sum  not attributed" in text
    assert "aaaaaaaaaaaa > bbbbbbbbbbbb (step 2) > cccccccccccc (step 4)" in text
    assert "aaaaaaaaaaaa, bit-identical after 4 steps" in text


def test_one_step_is_one_step():
    """No `1 steps`, and no digest twice where the step that moved it was the last."""
    still, moved = arm("freeze", moved=False, steps=1), arm("none", moved=True, steps=1)
    write = dataclasses.replace(moved.first_writes[0], first_changed_step=1, traced_step=1)
    moved = dataclasses.replace(moved, first_writes=(write,), digest_at_first_change=moved.digest_at_end)
    told = replay(moved, still)
    told = dataclasses.replace(told, setting=dataclasses.replace(told.setting, steps=1))
    text = summary(told, Style())
    assert "1 steps" not in text
    assert "bit-identical after 1 step\n" in text
    assert "aaaaaaaaaaaa > cccccccccccc (step 1)\n" in text


def test_headlines_fit_their_verdicts():
    """Each verdict has its own first line."""
    still = dataclasses.replace(arm("none", moved=False), expected=DRIFTED)
    assert summary(replay(still), Style()).startswith("inconclusive  no control arm drifted")
    cut = replay(arm("none", moved=True, steps=2, complete=False), complete=False)
    assert summary(cut, Style()).startswith("incomplete  the replay was interrupted (none, step 2 of 4)")
    wrong = dataclasses.replace(arm("no-grad", moved=True), expected=FROZEN)
    assert summary(replay(arm("none", moved=True), wrong), Style()).startswith("not as expected  no-grad did not")


def test_ranks_that_differ_are_said_loudly():
    """With several processes the report says whether they agree."""
    apart = dataclasses.replace(arm("none", moved=True), rank_differences=3)
    several = replay(apart, arm("maybe-no-grad", moved=False))
    several = dataclasses.replace(several, setting=dataclasses.replace(several.setting, processes=2))
    text = summary(several, Style())
    assert "NOT the same on every process after 3 of 4 steps" in text
    assert text.count("the same bits on every process after every step") == 1


def test_figures_that_are_not_finite_are_null(valid):
    """A loss that overflowed is null in JSON, empty in CSV and named in text; all documents stay valid."""
    broken = replay(arm("none", moved=True, commit_loss=math.nan))
    parsed = valid(document(broken))
    assert parsed["arms"][0]["steps"][0]["commit_loss"] is None
    assert parsed["arms"][0]["steps"][0]["gradient_norms"]["generator"] is None
    assert table(broken.arms).splitlines()[1].startswith("none,1,1,,computed,")
    assert "not finite" in summary(broken, Style())


def test_sparklines_follow_their_values():
    """The lowest bar is the floor, the highest the greatest value; too many values are averaged, gaps are marked."""
    assert sparkline([0, 1], 10) == "▁█"
    assert sparkline([1, 2], 10, low=0.0) == "▅█"
    assert sparkline([3, 3, 3], 10) == "▁▁▁"
    assert len(sparkline(list(range(1000)), 30)) == 30
    assert sparkline([0, math.nan, 1], 10) == "▁?█"
    assert sparkline([math.nan], 10) == "?"
    assert sparkline([], 10) == ""


@pytest.mark.parametrize(("encoding", "plain"), [("utf-8", False), ("gbk", False), ("ascii", True), (None, True)])
def test_bars_are_ones_that_the_stream_can_encode(encoding, plain):
    """A stream that cannot show blocks gets ASCII."""
    assert (bars_for(encoding) != BARS) == plain
    bars_for(encoding).encode(encoding or "ascii")


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
