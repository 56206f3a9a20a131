"""What `vqcheck history` says: whether the VQ encoder moved, where it began, and what the files were compared with."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from vqcheck.audit.history_result import (
    Base,
    BaseSource,
    Drift,
    History,
    HistoryRow,
    SkippedFile,
    TrainingRun,
)
from vqcheck.codebook.comparison import Scope, Verdict
from vqcheck.codebook.digest import F32V1, Digest
from vqcheck.codebook.file_record import FileKind, FileRecord
from vqcheck.codebook.health import Condition
from vqcheck.experiment.run_base import BaseProblem, UnusedBase
from vqcheck.report.blocks import LineChart, Section, Table
from vqcheck.report.document import CaseOutcome
from vqcheck.report.render import html, json, text
from vqcheck.report.views.history import view

GOLDEN = Path(__file__).parent / "golden" / "history.txt"
A, B = Digest(F32V1, "a" * 64), Digest(F32V1, "b" * 64)
STILL = Drift(("base.pth",), Verdict.IDENTICAL, 0, 8, None, None, "")
MOVED = Drift(("G_300.pth",), Verdict.CHANGED, 3, 8, 0.25, 7, "exact")
BASE = Base("pretrained/base.pth", BaseSource.OPTION)


def row(number, drift=STILL, *, based=True, first=False):
    digest = B if drift.verdict == Verdict.CHANGED else A
    return HistoryRow(
        f"G_{number}.pth",
        FileRecord(FileKind.TRAINING, number // 100, number),
        digest,
        "vq_encoder",
        drift if based else None,
        None if based or first else drift,
        None if first else drift,
    )


def rows(*drifts, based=True):
    return tuple(row(100 * n, drift, based=based, first=n == 1) for n, drift in enumerate(drifts, start=1))


def run(*drifts, base=BASE, unreadable=(), name="", unused=None):
    return TrainingRun(name, base, unused, rows(*drifts, based=base is not None), unreadable)


def history(*runs, skipped=(), never_trained=(), ailing=()):
    return History("logs/run", Scope.ALL, tuple(runs), skipped, never_trained, ailing)


def blocks(document, kind):
    """Return every block of a kind, wherever it stands."""

    def walk(parts):
        for part in parts:
            if isinstance(part, kind):
                yield part
            elif isinstance(part, Section):
                yield from walk(part.blocks)

    return [*walk(document.blocks)]


def test_a_history_agrees_with_its_checkpoints(valid, agrees):
    """Moved or not, with a base and without, with unreadable and skipped files, of one run and of two."""
    seen = set()
    undecided = replace(STILL, verdict=Verdict.UNDECIDED)
    for count, drift, based, skipped, unreadable, two in product(
        range(4), (STILL, MOVED, undecided), *[(True, False)] * 4
    ):
        base = BASE if based else None
        runs = [run(*[drift] * count, base=base, unreadable=(("G_9.pth", "is damaged"),) * unreadable, name="me")]
        if two:
            runs.append(TrainingRun("other", BASE, None, (replace(row(0, STILL), name="other.pth"),), ()))
        found = history(*runs, skipped=(SkippedFile("D_1.pth", "is a discriminator"),) * skipped)
        document = view(found)
        assert (document.exit_code, document.verdict) == (found.exit_code, found.verdict)
        assert agrees(document)
        assert bool(document.remedies) == (document.exit_code > 0)
        failed = {case.name for case in document.cases if case.outcome is CaseOutcome.FAILED}
        assert failed == ({each.name for each in runs[0].rows[not based :]} if drift is MOVED else set())
        if (found.verdict, two) not in seen:
            seen.add((found.verdict, two))
            assert valid(json.render(document))["exit_code"] == found.exit_code
    assert len(seen) == 6


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (run(STILL, STILL, MOVED), "moved between G_200.pth and G_300.pth"),
        (run(MOVED, MOVED), "of G_100.pth is not that of its base base.pth"),
        (run(STILL, STILL), "all 2 checkpoints and their base base.pth hold the same VQ encoder"),
        (run(STILL), "the one checkpoint and its base base.pth hold the same VQ encoder"),
        (run(STILL, STILL, base=None), "compared only with each other"),
        (run(STILL, base=None), "nothing to compare it with"),
        (run(base=None), "holds no checkpoint with a codebook"),
        (run(STILL, replace(STILL, verdict=Verdict.ROUNDED)), "rounded in some files"),
        (run(STILL, replace(STILL, verdict=Verdict.WITHIN_ULPS)), "differ only in the last places"),
        (run(STILL, replace(STILL, verdict=Verdict.UNDECIDED)), "another copy in G_200.pth contradicts"),
        (run(STILL, MOVED, unreadable=(("G_9.pth", "why"),)), "cannot be read; the VQ encoder moved at G_200.pth"),
    ],
)
def test_the_headline_says_what_it_came_to(found, words):
    assert words in view(history(found)).headline


def test_a_file_that_stores_less_does_not_show_where_the_move_began():
    """The file before it has another precision, so only the base tells; nobody is sent back to that file."""
    moved = replace(row(200, MOVED), from_previous=replace(STILL, verdict=Verdict.ROUNDED))
    found = TrainingRun("", BASE, None, (row(100, first=True), moved), ())
    document = view(history(found))
    assert "not that of its base" in document.headline
    (remedy,) = document.remedies
    assert "Go back to" not in remedy.text
    assert "vqcheck diff pretrained/base.pth" in remedy.text
    assert "Go back to G_100.pth" in view(history(run(STILL, MOVED))).remedies[0].text


@pytest.mark.parametrize("problem", BaseProblem)
def test_a_base_that_could_not_be_used_is_told(problem, valid):
    """With the files that are named, in the text and in JSON; where no configuration names one, JSON has no word."""
    unused = UnusedBase(problem, ("one.pth", "two.pth"), "G_100.pth")
    document = view(history(run(STILL, STILL, base=None, unused=unused)))
    note = valid(json.render(document))["runs"][0]["base_note"]
    assert "one.pth, two.pth" in note
    assert ("G_100.pth" in note) == (problem is BaseProblem.HOLDS_LESS)
    assert note in text.render(document, text.Style())
    assert valid(json.render(view(history(run(STILL, STILL, base=None)))))["runs"][0]["base_note"] == ""


def test_equal_checkpoints_in_a_row_share_a_line():
    """The line names the first and the last and has their steps; what moved since stands by itself."""
    document = view(history(run(STILL, STILL, STILL, MOVED)))
    (table,) = blocks(document, Table)
    first, second = ["".join(word if isinstance(word, str) else word.text for word in _words(line[0]))
                     for line in table.rows]  # fmt: skip
    assert (first, second) == ("G_100.pth .. G_300.pth (3)", "G_400.pth")
    assert table.rows[0][4] == "100 .. 300"
    assert "3 of 8" in html.render(document)


def _words(text):
    return (text,) if isinstance(text, str) or hasattr(text, "look") else text


def test_the_drift_is_drawn_over_the_steps():
    """A line from 0, the first move marked; by number where the steps are not known or not in order."""
    (chart,) = blocks(view(history(run(STILL, STILL, MOVED))), LineChart)
    (line,) = chart.lines
    assert (chart.x_title, line.points) == ("training step", [(100.0, 0.0), (200.0, 0.0), (300.0, 0.25)])
    assert (line.event.x, "G_300.pth" in line.event.name) == (300.0, True)
    still = view(history(run(STILL, STILL)))
    assert blocks(still, LineChart)[0].lines[0].event is None
    twice = TrainingRun("", BASE, None, (row(100, first=True), replace(row(100), name="again.pth")), ())
    (chart,) = blocks(view(history(twice)), LineChart)
    assert (chart.x_title, [x for x, _ in chart.lines[0].points]) == ("number of the checkpoint", [1.0, 2.0])
    assert blocks(view(history(run(STILL))), LineChart) == []


def test_files_that_are_skipped_for_one_reason_share_a_line(valid):
    """In JSON each has its reason; another codec is named."""
    skipped = (SkippedFile("D_1.pth", "is a discriminator"), SkippedFile("D_2.pth", "is a discriminator"))
    document = view(history(run(STILL, STILL), skipped=(*skipped, SkippedFile("mimi.pth", "", "mimi"))))
    words = text.render(document, text.Style())
    assert "D_1.pth, D_2.pth: is a discriminator\n" in words
    reasons = {each["name"]: each["reason"] for each in valid(json.render(document))["skipped"]}
    assert (reasons["D_2.pth"], "mimi" in reasons["mimi.pth"]) == ("is a discriminator", True)


def test_files_that_are_unfit_for_use_are_named_first_and_fail_nothing(agrees):
    found = history(run(STILL, STILL), never_trained=("G_100.pth",), ailing=(("G_200.pth", Condition.COLLAPSED),))
    document = view(found)
    assert ["G_100.pth" in document.warnings[0], "G_200.pth" in document.warnings[1]] == [True, True]
    assert document.exit_code == 0
    assert agrees(document)
    assert {case.rule.id for case in document.cases if case.is_advice} == {"history/never-trained", "history/unfit"}
    assert text.render(document, text.Style()).startswith("WARNING: ")


def test_every_run_is_told_by_itself():
    """Where the folder has several: its verdict, its table and what to do in it."""
    two = history(run(STILL, STILL, name="ann"), run(STILL, MOVED, name="bob"))
    document = view(two)
    assert (document.verdict, document.headline) == (Verdict.CHANGED, "1 of 2 runs in logs/run moved (bob)")
    assert {remedy.of for remedy in document.remedies} == {"bob"}
    assert len(blocks(document, Table)) == 2
    assert "none of 2 runs in logs/run moved" in view(replace(two, runs=(two.runs[0], two.runs[0]))).headline


def test_the_report_reads_as_it_should():
    """For the eye: rewrite the file where the new text is the better one."""
    unreadable = (("G_500.pth", "zip directory: not found at the end of the file (truncated?)"),)
    found = history(
        run(
            STILL, STILL, MOVED, replace(MOVED, displacement=0.5, ema_steps=9, precision="about"), unreadable=unreadable
        ),
        skipped=(
            SkippedFile("D_100.pth", "is an s2 discriminator"),
            SkippedFile("D_200.pth", "is an s2 discriminator"),
        ),
        never_trained=("G_100.pth",),
    )
    assert text.render(view(found), text.Style(width=80)) == GOLDEN.read_text("utf-8")
