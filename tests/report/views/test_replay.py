"""What `vqcheck replay` says: whatever was measured can be shown, and its checks agree with the exit status."""

import csv as tables
import io
import math
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from vqcheck.codebook.digest import F32V1, Digest, EncoderDigests
from vqcheck.replay.trace import (
    AS_IS,
    Arm,
    ArmVerdict,
    CommitLossState,
    FirstWrite,
    LossRange,
    PartMoves,
    Replay,
    Setting,
    SourceLine,
    StepTrace,
    TensorStep,
)
from vqcheck.report.blocks import Facts, LineChart, Section, Table, Tone
from vqcheck.report.document import CaseOutcome
from vqcheck.report.render import csv, html, json, text
from vqcheck.report.views.replay import view
from vqcheck.report.views.replay_data import cases

GOLDEN = Path(__file__).parent / "golden" / "replay.txt"
LOSSES = dict.fromkeys(("discriminator", "generator", "feature", "mel", "kl"), 1.0)
OWN = SourceLine("/home/me/train.py", 31, "step")
WRITTEN = FirstWrite("codes", 2, 3, "aten.copy_.default", "/site-packages/vq.py", 12, "forward", OWN)


def digests(letter):
    whole = Digest(F32V1, letter * 64)
    return EncoderDigests((("codes", whole),), whole, whole, whole)


def step(number, *, moved, loss=0.25, shadow=0.25, state=None):
    codes = TensorStep("codes", moved, moved, 64 * moved, 64, number * 1.0 * moved, 0.5 * moved)
    norms = {"generator": math.inf}
    state = state or (CommitLossState.COMPUTED if moved else CommitLossState.OFF)
    return StepTrace(
        number, 1, LOSSES, norms, loss if moved else 0.0, state, shadow, (codes,),
        3 * moved, 1e-4, 0.1, (),
    )  # fmt: skip


def arm(name="none", *, moved=True, steps=4, writes=(WRITTEN,), **more):
    found = {
        "stops": "Stops something, and this sentence is long enough to be broken on a narrow terminal.",
        "expected": ArmVerdict.DRIFTED if moved else ArmVerdict.FROZEN,
        "complete": True,
        "steps": tuple(step(number, moved=moved) for number in range(1, steps + 1)),
        "kept_every": 1,
        "commit_loss": LossRange(0.25, 0.25) if moved else LossRange(0.0, 0.0),
        "shadow_commit_loss": LossRange(0.2, 0.3),
        "first_writes": writes if moved else (),
        "digest_at_start": digests("a"),
        "digest_at_first_change": digests("b") if moved else None,
        "digest_at_end": digests("c" if moved else "a"),
        "rank_differences": 0,
        "median_seconds": 0.1,
        "tracing_seconds": 0.001,
    }
    return Arm(strategy=name, steps_run=steps, **(found | more))


def replay(*arms, complete=True, processes=1, failure=None):
    setting = Setting("tiny", "fresh", "6 items", 4, 2, 1, "CPU", "fp32", processes, "2.13", 152, ("a note",))
    return Replay(setting, arms, complete, failure)


STILL = arm("freeze", moved=False)
ADAPTED = (
    PartMoves("enc_p", 0, 0, 235, 0),
    PartMoves("bridge", 2, 2, 0, 0),
    PartMoves("cfm", 0, 0, 366, 0),
    PartMoves("lora_A", 88, 0, 0, 0),
    PartMoves("lora_B", 88, 88, 0, 0),
)
IDLE = (*ADAPTED[:-1], PartMoves("lora_B", 88, 0, 0, 0))
LEAKING = (PartMoves("enc_p", 0, 0, 235, 1), *ADAPTED[1:])
GOLD = replay(arm("none", writes=(WRITTEN, FirstWrite("ema_sum", 2, None))), STILL)


def section(document, title):
    return next(each for each in document.blocks if isinstance(each, Section) and each.title == title)


def arms_of(document):
    return {each.title: each for each in section(document, "Arm by arm").blocks}


def facts(found):
    """Return the facts of an arm by name."""
    (block,) = (block for block in found.blocks if isinstance(block, Facts))
    return {fact.name: getattr(fact.value, "text", fact.value) for fact in block.facts if fact.value}


def charts(document, title):
    """Return title -> name -> line of the charts in a section."""
    found = []
    for block in section(document, title).blocks:
        found += [each for each in getattr(block, "blocks", (block,)) if isinstance(each, LineChart)]
    return [{line.name: line for line in chart.lines} for chart in found]


def side_by_side(document):
    """Return strategy -> title -> cell."""
    table = section(document, "Side by side").blocks[0]
    titles = [column.title for column in table.columns]
    return {row[0]: dict(zip(titles, row, strict=True)) for row in table.rows}


def agrees(found):
    """Say whether the outcomes of the checks that count give the exit status; every format relies on it."""
    checks = cases(found)
    counted = {case.outcome for case in checks if not case.is_advice}
    identities = [(case.rule.id, case.name) for case in checks]
    assert len(set(identities)) == len(identities)
    assert all(case.message for case in checks)
    if found.exit_code == 2:
        return CaseOutcome.COULD_NOT_CHECK in counted
    failed = (CaseOutcome.FAILED in counted) == (found.exit_code == 1)
    return failed and (found.exit_code == 1 or CaseOutcome.COULD_NOT_CHECK not in counted)


def one_step(name, *, expected, written, ranks=False, complete=True, used=True):
    """Return an arm of one step of somebody's own code."""
    writes = (replace(WRITTEN, first_changed_step=1, traced_step=1),) if written else ()
    return arm(
        name, steps=1, expected=expected, first_writes=writes, rank_differences=int(ranks), complete=complete,
        uses_codebook=used,
    )  # fmt: skip


def test_a_replay_agrees_with_its_arms():
    """Over every pair of arms, expected to drift or not, that did or did not, whole or cut short."""
    kinds = list(
        product(
            (ArmVerdict.FROZEN, ArmVerdict.DRIFTED), (False, True), (False, True), (True, False), (None, False, True)
        )
    )
    names = ("expected", "written", "ranks", "complete", "used")
    arms = [one_step(AS_IS, **dict(zip(names, kind, strict=True))) for kind in kinds]
    for first, second in product(arms, arms):
        whole = replay(first, replace(second, strategy="freeze"), complete=first.complete and second.complete)
        assert agrees(whole), whole
    for each in arms:
        assert agrees(replay(each, processes=2, complete=each.complete))
        # Interrupted before the next arm took a step.
        assert agrees(replay(each, complete=False))


@pytest.mark.parametrize(
    ("found", "status", "words"),
    [
        (GOLD, 0, ("drifts under none", "bit-identical under freeze")),
        (replay(replace(arm(), expected=ArmVerdict.DRIFTED)), 0, ("drifts under none",)),
        (replay(arm("none"), replace(arm("no-grad"), expected=ArmVerdict.FROZEN)), 1, ("no-grad did not",)),
        (replay(one_step(AS_IS, expected=ArmVerdict.FROZEN, written=True)), 1, ("as it is", "/home/me/train.py:31")),
        (replay(replace(STILL, expected=ArmVerdict.DRIFTED)), 2, ("no control arm drifted",)),
        (replay(STILL), 2, ("no arm was expected to drift",)),
        (replay(replace(STILL, uses_codebook=False)), 2, ("never used the codebook",)),
        (replay(arm(steps=2, complete=False), complete=False), 2, ("interrupted", "none, step 2 of 4")),
        (replay(arm(), complete=False, failure="no-grad: out of memory"), 2, ("failed", "no-grad: out of memory")),
        (replay(arm(), replace(STILL, skipped_steps=4)), 2, ("skipped every optimizer step of freeze",)),
        (replay(arm(), replace(STILL, parameters=ADAPTED)), 0, ("bit-identical under freeze",)),
        (replay(arm(), replace(STILL, parameters=IDLE)), 2, ("lora_B never moved under freeze",)),
        (replay(arm(), replace(STILL, parameters=LEAKING)), 1, ("freeze did not do what was expected",)),
        (replay(replace(arm(), parameters=LEAKING), STILL), 1, ("none did not do what was expected",)),
    ],
)
def test_headlines_say_what_it_came_to(valid, found, status, words):
    """Each verdict has its own first line, the same status in JSON, and something to do where not all is well."""
    document = view(found)
    assert document.exit_code == valid(json.render(document))["exit_code"] == status
    assert all(word in document.headline for word in words)
    assert document.cases == cases(found)
    assert bool(document.remedies) == (status > 0)


def test_a_leak_is_told_at_the_users_own_line():
    """The message has operator, library line, step and rows; the place is the line of the user's that called it."""
    leaking = one_step(AS_IS, expected=ArmVerdict.FROZEN, written=True)
    (case,) = view(replay(leaking)).cases
    assert (case.rule.id, case.name, case.outcome) == ("replay/drifted", "as-is: codes", CaseOutcome.FAILED)
    assert (case.path, case.line) == ("/home/me/train.py", 31)
    for fact in ("step 1, by aten.copy_ at /site-packages/vq.py:12", "/home/me/train.py:31", "64 of 64 rows"):
        assert fact in case.message
    (case,) = view(replay(replace(leaking, first_writes=(FirstWrite("codes", 1, None),)))).cases
    assert (case.path, case.line, "not attributed" in case.message) == ("", 0, True)


def test_names_of_checks_do_not_depend_on_the_outcome():
    """A check that passed yesterday and fails today is the same one to whoever keeps a history of tests."""
    names = set()
    for written in (False, True):
        document = view(
            replay(one_step(AS_IS, expected=ArmVerdict.FROZEN, written=written, ranks=written), processes=2)
        )
        names.add(tuple((case.rule.id, case.name) for case in document.cases))
    assert names == {(("replay/drifted", "as-is: codes"), ("replay/ranks-differ", "as-is"))}


def test_a_verdict_has_the_colour_of_what_happened():
    """A codebook that drifted is never good news, not even of a control; whether it was expected stands beside it."""
    wrong = replace(arm("mine"), expected=ArmVerdict.FROZEN)
    cells = side_by_side(view(replay(arm(), wrong, STILL, replace(STILL, strategy="cut", complete=False))))
    assert [(row["Verdict"].text, row["Verdict"].tone) for row in cells.values()] == [
        ("drifted", Tone.BAD),
        ("drifted", Tone.BAD),
        ("frozen", Tone.GOOD),
        ("not measured", Tone.WARNING),
    ]
    assert [row["As expected"][0].tone for row in cells.values()] == [Tone.GOOD, Tone.BAD, Tone.GOOD, Tone.WARNING]
    assert [len(row["As expected"]) > 1 for row in cells.values()] == [True, False, False, False]


def test_the_first_write_of_each_tensor_is_named_where_it_was_seen():
    """With operator, step and line; one that nobody was seen to make is not attributed."""
    document = view(GOLD)
    (writes,) = (block for block in arms_of(document)["none"].blocks if isinstance(block, Table))
    (codes, ema) = ([getattr(cell, "text", cell) for cell in row] for row in writes.rows)
    assert codes[:3] == ["codes", "2", "aten.copy_"]
    assert "vq.py:12 in forward" in codes[3]
    assert "train.py:31 in step" in codes[3]
    assert "step 3" in codes[3]
    assert ema == ["ema_sum", "2", "not attributed", ""]
    (first,) = section(document, "First write").blocks
    assert [row[0] for row in first.rows] == ["none"]
    assert not any(block.rows for block in arms_of(document)["freeze"].blocks if isinstance(block, Table))


def test_digests_tell_when_the_codebook_moved():
    """At the start, at the first change and at the end; not twice where the step that moved it was the last."""
    assert [letter * 12 in facts(arms_of(view(GOLD))["none"])["VQ encoder"] for letter in "abc"] == [True] * 3
    still = facts(arms_of(view(GOLD))["freeze"])["VQ encoder"]
    assert ("a" * 12 in still, "bit-identical after 4 steps" in still) == (True, True)
    last = arm(steps=1, writes=(replace(WRITTEN, first_changed_step=1, traced_step=1),))
    told = facts(arms_of(view(replay(last)))["none"])["VQ encoder"]
    assert ("b" * 12 in told, told.endswith("(step 1)")) == (False, True)
    assert "1 steps" not in text.render(view(replay(last, arm("freeze", moved=False, steps=1))), text.Style())


def test_lora_training_says_what_moved_and_what_held_still(valid):
    """By part, in the text and in the JSON; a parameter that moved without a gradient is a failed check."""
    found = replay(arm(), replace(STILL, parameters=ADAPTED))
    said = facts(arms_of(view(found))["freeze"])["Parameters"]
    assert said == "moved: bridge 2 of 2, lora_A 0 of 88, lora_B 88 of 88; 601 without a gradient, all still"
    assert "Parameters" not in facts(arms_of(view(found))["none"])
    first, second = valid(json.render(view(found)))["arms"]
    assert first["parameters"] == []
    assert second["parameters"][1] == {
        "part": "bridge", "learning": 2, "learning_moved": 2, "held": 0, "held_moved": 0
    }  # fmt: skip
    (checked,) = (case for case in cases(found) if case.rule.id == "replay/held-parameters")
    assert (checked.outcome, checked.name) == (CaseOutcome.PASSED, "freeze")
    leaking = replay(arm(), replace(STILL, parameters=LEAKING))
    assert "601 without a gradient, but enc_p 1 of 235 moved" in facts(arms_of(view(leaking))["freeze"])["Parameters"]
    for each in (found, leaking, replay(arm(), replace(STILL, parameters=IDLE))):
        assert agrees(each)


def test_ranks_that_differ_are_said_loudly():
    """With several processes the report says whether they agree."""
    arms = arms_of(view(replay(replace(arm(), rank_differences=3), STILL, processes=2)))
    assert "NOT the same on every process after 3 of 4 steps" in facts(arms["none"])["Processes"]
    assert "the same bits" in facts(arms["freeze"])["Processes"]
    assert "Processes" not in facts(arms_of(view(GOLD))["none"])


def test_a_loss_that_is_off_is_no_evidence():
    """A reported 0 is said to be off, with the shadow loss beside it; other code may report none, and know none."""
    cells = side_by_side(view(GOLD))
    assert (cells["freeze"]["commit_loss"], cells["freeze"]["Shadow loss"]) == ("0 (off)", "0.200..0.300")
    assert (cells["none"]["commit_loss"], cells["none"]["Codes"]) == ("0.250", "64/64")
    assert "eval mode" in charts(view(GOLD), "commit_loss")[0]["freeze"].said
    steps = tuple(
        step(n, moved=True, loss=math.nan, shadow=math.nan, state=CommitLossState.NOT_REPORTED) for n in range(1, 4)
    )
    unknown = LossRange(math.nan, math.nan)
    other = arm(steps=3, uses_codebook=True, commit_loss=unknown, shadow_commit_loss=unknown)
    document = view(replay(replace(other, steps=steps)))
    assert [side_by_side(document)["none"][title] for title in ("commit_loss", "Shadow loss")] == ["-", "-"]
    assert section(document, "commit_loss").blocks == ()


def test_the_charts_hold_every_step_of_every_arm():
    """All arms in one chart: reported loss, shadow loss, and drift with the first write."""
    document = view(GOLD)
    reported, shadow = charts(document, "commit_loss")
    (drift,) = charts(document, "Drift of the codes")
    for found in GOLD.arms:
        for lines, figure in ((shadow, "shadow_commit_loss"), (reported, "commit_loss"), (drift, "drift")):
            line = lines[found.strategy]
            assert list(line.points) == [(each.step, getattr(each, figure)) for each in found.steps]
            assert [note.text for note in line.notes] == ["control"] * found.is_control
        assert (drift[found.strategy].event is not None) == bool(found.first_writes)
        assert (drift[found.strategy].said == "0: no bit of the codes changed") == (found.verdict == ArmVerdict.FROZEN)
    assert drift["none"].event.x == 2


def test_a_replay_without_a_step_invents_nothing():
    empty = arm(steps=0, first_writes=(), complete=False, digest_at_first_change=None)
    document = view(replay(empty, complete=False))
    assert not {"commit_loss", "Drift of the codes"} & {block.title for block in document.blocks}
    assert side_by_side(document)["none"]["Flipped"] == "-"
    assert "after step 0" in " ".join(map(str, arms_of(document)["none"].notes))


def test_figures_that_are_not_finite_are_null(valid):
    """A loss that overflowed is null in JSON, empty in CSV and named in text; all documents stay valid."""
    nowhere = LossRange(math.nan, math.nan)
    broken = replace(arm(), steps=(step(1, moved=True, loss=math.nan),), commit_loss=nowhere)
    document = view(replay(broken))
    (parsed,) = valid(json.render(document))["arms"][0]["steps"]
    assert parsed["commit_loss"] is parsed["gradient_norms"]["generator"] is None
    (row,) = tables.DictReader(io.StringIO(csv.render(document)))
    assert (row["strategy"], row["commit_loss"], row["commit_loss_state"]) == ("none", "", "computed")
    assert "not finite" in text.render(document, text.Style())


def test_a_tensor_that_is_missing_is_said_to_be(valid):
    """Its rows count as changed, there is no digest to give, and checks and JSON say why."""
    gone = TensorStep("codes", True, True, 64, 64, math.nan, math.nan, problem="is missing")
    last = replace(step(4, moved=True), tensors=(gone,))
    none = EncoderDigests((), None, None, None)
    found = replace(arm(), expected=ArmVerdict.FROZEN, uses_codebook=True, steps=(last,), digest_at_end=none)
    document = view(replay(found))
    assert "no digest" in facts(arms_of(document)["none"])["VQ encoder"]
    assert "it is missing" in document.cases[0].message
    (tensor,) = valid(json.render(document))["arms"][0]["steps"][0]["tensors"]
    assert (tensor["problem"], tensor["l2"]) == ("is missing", None)
    (other,) = valid(json.render(view(replay(replace(found, steps=(step(4, moved=True),))))))["arms"][0]["steps"]
    assert other["tensors"][0]["problem"] is None


def test_the_table_has_a_row_for_each_step_and_columns_for_each_tensor():
    rows = list(tables.DictReader(io.StringIO(csv.render(view(GOLD)))))
    assert [(row["strategy"], row["step"]) for row in rows] == [
        (n, str(s)) for n in ("none", "freeze") for s in range(1, 5)
    ]
    assert [row["codes.rows_changed"] for row in rows] == ["64"] * 4 + ["0"] * 4
    assert {row["mel"] for row in rows} == {"1.0"}


@pytest.mark.parametrize("width", [20, 40, 80, 120])
def test_no_line_is_wider_than_the_terminal(width):
    """Whatever the width, lines are broken rather than cut, and nothing is lost."""
    shown = text.render(view(GOLD), text.Style(width=width))
    assert max(map(len, shown.splitlines())) <= width
    assert {word for word in shown.split() if len(word) < 12} >= {
        "drifted",
        "frozen",
        "aten.copy_",
        "attributed",
        "note",
    }


def test_a_page_has_the_setting_and_the_numbers_of_the_charts(read_html):
    page = read_html(html.render(view(GOLD)))
    for fact in ("Subject tiny", "Weights fresh", "Seed 1", "Device CPU", "Precision fp32", "torch 2.13", "a note"):
        assert fact in page
    (reported, shadow, drift) = section(view(GOLD), "The charts in numbers").blocks
    assert [row[1] for row in reported.rows] == ["0.250"] * 4
    assert [row[2] for row in shadow.rows] == ["0.250"] * 4
    assert [row[1] for row in drift.rows] == ["1.000", "2.000", "3.000", "4.000"]


def test_the_report_reads_as_it_should():
    """For the eye: rewrite the file where the new text is the better one."""
    assert text.render(view(GOLD), text.Style(width=80)) == GOLDEN.read_text("utf-8")
