"""Charts: what they draw are the numbers of the result, read back from the picture by its own axes."""

import math
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqcheck.audit.token_decision import TokenDecision
from vqcheck.report import scales
from vqcheck.report.blocks import Bars, HeatMap, Line, LineChart, Strip
from vqcheck.report.document import Document, Status
from vqcheck.report.render.html import render
from vqcheck.report.render.html.charts import thinned
from vqcheck.report.views import diff, history, replay, tokens

LOSS, SHADOW = "commit_loss as the training code reports it", "Shadow loss, computed in every mode"
DRIFT, OVER = "Drift of the codes", "Drift of the VQ encoder over the checkpoints"


def floats(text):
    return [float(part) for part in re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", text)]


def scale(svg, which):
    """Return what turns a place into a value, from two ticks and the places of their labels."""
    ticks = [each for each in svg.iter("text") if each.get("class") == which and re.fullmatch(r"[\d.,e-]+", each.text)]
    at = "x" if which == "x" else "y"
    (place, value), (other, far) = [
        (float(tick.get(at)) - (3.5 if at == "y" else 0), float(tick.text.replace(",", "")))
        for tick in (ticks[0], ticks[-1])
    ]
    return lambda position: value + (position - place) * (far - value) / (other - place)


def lines(svg):
    """Return class -> points of each line, in the units of the axes."""
    across, up = scale(svg, "x"), scale(svg, "y")
    found = {}
    for line in svg.iter("polyline"):
        pairs = [floats(pair) for pair in line.get("points").split()]
        found.setdefault(line.get("class"), []).append([(across(x), up(y)) for x, y in pairs])
    return found


@pytest.fixture
def charts_of(body_of):
    """Returns title -> SVG of every picture on a page."""

    def read(page):
        return {svg[0].text: svg for svg in body_of(page).iter("svg") if svg.get("role")}

    return read


def test_replay_draws_every_step_of_every_arm(make, charts_of):
    """Reported and shadow commit_loss and drift, of an arm that drifts and one that does not, within half a pixel."""
    arms = [make.arm("none", steps=30), make.arm("freeze", moved=False, steps=30)]
    charts = charts_of(render(replay.view(make.replay(arms))))
    assert set(charts) == {LOSS, SHADOW, DRIFT}
    for title, figure in ((LOSS, "commit_loss"), (SHADOW, "shadow_commit_loss"), (DRIFT, "drift")):
        drawn = lines(charts[title])
        expected = [[getattr(step, figure) for step in arm.steps] for arm in arms]
        highest = max(map(max, expected))
        for number, values in enumerate(expected):
            (points,) = drawn[f"line{0 if values == expected[0] else number}"]
            assert [round(x) for x, _ in points] == list(range(1, 31))
            assert [y for _, y in points] == pytest.approx(values, abs=0.01 * max(0.3, highest))


def test_lines_are_told_apart_without_colour(make, charts_of, body_of, text_of):
    """Colour and dashes differ, the legend has a sample of each, and lines that are equal are drawn once, with both."""
    arms = [make.arm(f"arm{number}", steps=4, first=number) for number in (2, 3, 4)]
    arms += [make.arm("still", moved=False, steps=4), make.arm("too", moved=False, steps=4)]
    page = render(replay.view(make.replay(arms)))
    drawn = [(each.get("class"), each.get("stroke-dasharray")) for each in charts_of(page)[DRIFT].iter("polyline")]
    assert len(drawn) == len({look for look, _ in drawn}) == len({dashes for _, dashes in drawn}) == 4
    legend = [each for each in body_of(page).iter("ul") if each.get("class") == "legend"][-1]
    samples = [(each[0][0].get("class"), each[0][0].get("stroke-dasharray")) for each in legend]
    assert samples == drawn
    assert [sum(arm.strategy in text_of(each) for arm in arms) for each in legend] == [1, 1, 1, 2]


def test_axes_have_titles_ticks_and_the_first_write(make, charts_of):
    charts = charts_of(render(replay.view(make.replay([make.arm()]))))
    words = {name: [each.text for each in chart.iter("text")] for name, chart in charts.items()}
    assert {"commit_loss", "training step", "0"} <= set(words[LOSS])
    assert {"distance from the start", "training step", "first write: step 2"} <= set(words[DRIFT])


def test_a_gap_stands_for_a_value_that_is_not_finite(make, charts_of):
    """A loss that overflowed breaks the line instead of the page."""
    arm = make.arm(loss=math.nan)
    page = render(replay.view(make.replay([arm, make.arm("freeze", moved=False)])))
    assert "nan" not in page.lower().replace("nan or infinity", "")
    assert list(lines(charts_of(page)[SHADOW])) == ["line1"]


def test_what_is_not_known_has_no_chart(make, charts_of):
    """Neither a loss that no code reports, nor the shadow loss of other code."""
    assert set(charts_of(render(replay.view(make.replay([make.arm(loss=math.nan)]))))) == {DRIFT}
    arm = make.arm()
    steps = tuple(replace(step, shadow_commit_loss=math.nan) for step in arm.steps)
    assert set(charts_of(render(replay.view(make.replay([replace(arm, steps=steps)]))))) == {LOSS, DRIFT}


def test_history_draws_every_checkpoint(make, charts_of):
    """The median move over the steps, and the first checkpoint that moved by name at its place."""
    found = make.history(8, first=5)
    chart = charts_of(render(history.view(found)))[OVER]
    (drawn,) = lines(chart)["line0"]
    assert [round(x) for x, _ in drawn] == [row.record.steps for row in found.runs[0].rows]
    expected = [row.from_first.displacement if row.from_first else 0.0 for row in found.runs[0].rows]
    assert [y for _, y in drawn] == pytest.approx(expected, abs=0.0005)
    assert "first moved: G_5.pth" in [each.text for each in chart.iter("text")]
    (event,) = (path for path in chart.iter("path") if path.get("class") == "event")
    assert scale(chart, "x")(floats(event.get("d"))[0]) == pytest.approx(500, abs=2)


def test_a_history_that_never_moved_marks_nothing(make, charts_of):
    chart = charts_of(render(history.view(make.history(first=None))))[OVER]
    assert not any(path.get("class") == "event" for path in chart.iter("path"))
    assert {y for _, y in lines(chart)["line0"][0]} == {0.0}


def test_thinning_keeps_ends_and_peaks():
    points = [(float(number), 0.0) for number in range(10_000)]
    points[1234], points[7777] = (1234.0, 9.0), (7777.0, -3.0)
    kept = thinned(points, 100)
    assert len(kept) <= 102
    assert {points[0], points[-1], points[1234], points[7777]} <= set(kept)
    assert kept == sorted(kept)
    assert thinned(points[:50], 100) == points[:50]


def fields(svg, count, across):
    """Return the class of each field of a heat strip, read from its strokes."""
    found = [None] * count
    for path in svg.find("g").iter("path"):
        for x, y, long in re.findall(r"M(\d+) (\d+)h(\d+)", path.get("d")):
            start = (int(x) - 40) // 10 + across * ((int(y) - 5) // 10)
            for place in range(start, start + int(long) // 10):
                assert found[place] is None
                found[place] = path.get("class")
    return found


def test_the_heat_strip_shows_every_code(make, charts_of):
    """Each of 1024 codes has one field; one that moved further has no weaker colour; still ones stand apart."""
    comparison = make.comparison(codes=1024)
    moved = comparison.diagnosis.codes[0].moved
    found = fields(charts_of(render(diff.view(comparison)))["Change of every code"], 1024, 32)
    assert [look == "s-" for look in found] == [value == 0 for value in moved]
    ranked = [int(look[1:]) for _, look in sorted(zip(moved, found, strict=True)) if look != "s-"]
    assert ranked == sorted(ranked)
    assert len(set(ranked)) >= 4
    assert (ranked[0], ranked[-1]) == (0, 5)


def test_the_legend_counts_what_the_strip_shows(make, body_of, charts_of, text_of):
    page = render(diff.view(make.comparison(codes=1024)))
    found = fields(charts_of(page)["Change of every code"], 1024, 32)
    legend = next(each for each in body_of(page).iter("div") if each.get("class") == "split").find("div")
    counts = {
        row.find("th//path").get("class"): int(text_of(row.find("td"))) for row in legend.findall("table/tbody/tr")
    }
    assert counts == {look: found.count(look) for look in set(found)}


def test_a_field_of_many_codes_shows_the_furthest(make, charts_of):
    """In a codebook of 4096, one code in four stands for its neighbours."""
    comparison = make.comparison(codes=4096)
    upper = scales.limits(comparison.diagnosis.codes[0].moved)
    moved = comparison.diagnosis.codes[0].moved
    found = fields(charts_of(render(diff.view(comparison)))["Change of every code"], 1024, 32)
    expected = [scales.class_of(max(moved[at : at + 4]), upper) for at in range(0, 4096, 4)]
    assert [found.index(look) for look in found] == [expected.index(number) for number in expected]


def test_usage_bars_are_as_long_as_they_say(make, charts_of):
    """The bars of A and B have lengths in the proportion of the numbers beside them, which are those of the result."""
    comparison = make.comparison(codes=400)
    svg = charts_of(render(diff.view(comparison)))["Usage of the codes in A and in B"]
    bars = [(rect.get("class"), float(rect.get("width"))) for rect in svg.iter("rect")]
    numbers = [
        int(each.text)
        for each in svg.iter("text")
        if each.text.isdigit() and each.get("class") is None and float(each.get("x")) > 110
    ]
    assert sum(numbers) == 800
    longest = max(long for _, long in bars)
    assert [long for _, long in bars] == pytest.approx([longest * n / max(numbers) for n in numbers], abs=1)


def test_the_bar_of_frames_adds_up(make, charts_of):
    svg = charts_of(render(tokens.view(TokenDecision(make.audit(), None))))["Frames by kind"]
    assert {rect.get("class"): float(rect.get("width")) for rect in svg.iter("rect")} == {
        "part-good": 633.6,
        "part-bad": 6.4,
    }


@pytest.mark.parametrize("top", [1e-9, 0.00031, 0.07, 1.0, 1.5, 99.0, 1e6])
def test_axes_end_above_the_greatest_value(top):
    found = scales.from_zero("x", [0.0, top, math.nan])
    assert found.ticks[0] == 0 == found.low
    assert found.ticks[-1] == found.high
    assert top <= found.high * (1 + 1e-9) <= 2.01 * top
    assert 2 <= len(found.ticks) <= 7
    assert len({scales.label(tick) for tick in found.ticks}) == len(found.ticks)


@pytest.mark.parametrize(("first", "last"), [(1, 2), (1, 30), (1, 2000), (400, 437), (5, 5), (100, 1_000_000)])
def test_steps_have_whole_ticks(first, last):
    found = scales.counted("step", [first, last])
    assert all(tick == int(tick) and first <= tick <= last for tick in found.ticks)
    assert 1 <= len(found.ticks) <= 8


@pytest.mark.parametrize(
    ("values", "upper"),
    [
        ([], ()),
        ([0.0, math.inf, math.nan], ()),
        ([0.001, 0.01, 0.1, 1.0], (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)),
        ([10, 11, 12, 13, 14], (10.0, 11.0, 12.0, 13.0, 14.0)),
        ([5.0], (5.0,)),
    ],
)
def test_classes_have_round_limits(values, upper):
    found = scales.limits(values)
    assert found == pytest.approx(upper)
    assert all(
        scales.class_of(value, found) == next((i for i, top in enumerate(found) if value <= top), len(found) - 1)
        for value in values
        if 0 < value < math.inf
    )


@settings(deadline=None)
@given(st.lists(st.floats(), max_size=20))
def test_no_number_breaks_a_chart(values):
    """Scales, classes and names hold for any floating-point numbers, and every value has its class."""
    found = scales.from_zero("x", values)
    assert found.low < found.high < math.inf
    assert len({scales.label(tick) for tick in found.ticks}) == len(found.ticks)
    upper = scales.limits(values)
    assert list(upper) == sorted(set(upper))
    assert len(set(scales.spans(upper))) == len(upper) <= scales.MOST
    numbers = [scales.class_of(value, upper) for value in values]
    assert set(numbers) <= {scales.STILL, scales.NOT_FINITE, *range(len(upper))}
    strip = Strip("", values or [0.0])
    line = Line("a", "b", list(enumerate(values)))
    blocks = (
        HeatMap("heat", "words", [strip], upper, "", ("", ""), []),
        HeatMap("heat", "words", [strip, strip], upper, "", ("", ""), []),
        LineChart("a title", "x", "y", [line, line._replace(points=list(enumerate(reversed(values))))]),
        Bars("bars", "words", "", "", [("", len(values), 0)], ("", "")),
    )
    page = render(Document("diff", Status.CONSISTENT, "same", "same", "", (), {}, blocks=blocks))
    body = page[page.index("<body>") :]
    assert not re.search(r"nan|inf[^o]|[MHvh, ]-\d{4}", body)
