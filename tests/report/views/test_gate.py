"""What `vqcheck gate` says: the verdict, every check, and what to do about each that keeps the gate shut."""

from itertools import product
from pathlib import Path

import pytest

from vqcheck.audit.judgement import CheckOutcome, Judgement
from vqcheck.gate.checks import CHECKS, CheckResult, GateReport
from vqcheck.report.blocks import Look, Shown
from vqcheck.report.document import CaseOutcome
from vqcheck.report.render import github, html, json, text
from vqcheck.report.views.gate import explanation, view

GOLDEN = Path(__file__).parent / "golden" / "gate.txt"


def report(*outcomes, required=None):
    """Return a gate of which the first checks came to these outcomes."""
    weights = required or [check.required for check in CHECKS]
    return GateReport(
        "s2.json",
        tuple(
            CheckResult(check.code, check.title, weight, Judgement(outcome, f"found in {check.code}"))
            for check, outcome, weight in zip(CHECKS, outcomes, weights, strict=False)
        ),
    )


MIXED = report(*(list(CheckOutcome)[number % len(CheckOutcome)] for number in range(1, len(CHECKS) + 1)))


def test_a_gate_agrees_with_its_checks():
    """Over every pair of outcomes, required or not; a gate that checked nothing says so in a case of its own."""
    for a, b, *required in product(CheckOutcome, CheckOutcome, (True, False), (True, False)):
        document = view(report(a, b, required=required))
        counted = {case.outcome for case in document.cases if not case.is_advice}
        assert (CaseOutcome.COULD_NOT_CHECK in counted) >= (document.exit_code == 2)
        assert document.exit_code == 2 or (CaseOutcome.FAILED in counted) == (document.exit_code == 1)
        assert bool(document.remedies) == (document.exit_code > 0)
        assert len({(case.rule.id, case.name) for case in document.cases}) == len(document.cases)
    nothing = view(report(CheckOutcome.SKIPPED))
    assert [case.rule.id for case in nothing.cases] == ["gate/codebook-trained", "gate/nothing-checked"]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.code)
def test_each_failed_check_carries_its_own_fix(check):
    """In what to do, in its case and on GitHub; a check that passed asks for nothing."""
    outcomes = [CheckOutcome.FAILED if each is check else CheckOutcome.PASSED for each in CHECKS]
    document = view(report(*outcomes))
    assert {case.name: case.fix for case in document.cases if case.fix} == {check.code: check.fix}
    assert [remedy.text for remedy in document.remedies] == [f"{check.code}: {check.fix}"] * check.required
    annotations = github.render(document)
    assert ("::error" if check.required else "::warning") in annotations
    assert f"found in {check.code}. {check.fix[:10]}" in annotations


def test_a_check_that_could_not_run_is_not_answered_with_the_fix_of_a_failed_one():
    """Nothing is known to be wrong: tokens must not be thrown away because a file could not be read."""
    tokens = next(check for check in CHECKS if check.code == "tokens")
    outcomes = [CheckOutcome.COULD_NOT_CHECK if each is tokens else CheckOutcome.PASSED for each in CHECKS]
    document = view(report(*outcomes))
    assert document.exit_code == 2
    assert tokens.fix not in text.render(document, text.Style())
    assert "could not run" in document.remedies[0].text


def test_a_gate_that_ran_fewer_checks_says_so():
    """Whoever reads only the headline must know that checks were left out."""
    partly = view(report(CheckOutcome.PASSED, CheckOutcome.SKIPPED))
    assert (partly.verdict, partly.exit_code) == ("partly checked", 0)
    assert partly.headline == "passed: codebook-trained; left out: loader"
    advice_left_out = view(report(CheckOutcome.PASSED, CheckOutcome.SKIPPED, required=[True, False]))
    assert (advice_left_out.verdict, advice_left_out.headline) == ("open", "s2 training may start (1 of 2 checks ran)")
    failed = view(report(CheckOutcome.FAILED, CheckOutcome.SKIPPED))
    assert (failed.verdict, failed.headline) == ("closed", "do not start s2 training (1 of 2 checks ran)")
    assert view(report(CheckOutcome.PASSED)).headline == "s2 training may start"


def test_advice_never_looks_like_what_keeps_the_gate_shut():
    """Another word and another colour, in the table and among the key figures."""
    document = view(report(CheckOutcome.FAILED, CheckOutcome.COULD_NOT_CHECK, required=[False, False]))
    table = next(block for block in document.blocks if block.title == "Checks").blocks[0]
    assert [(row[1].text, row[1].tone.value) for row in table.rows] == [("advice", "neutral"), ("not known", "muted")]
    assert [(figure.name, figure.value) for figure in document.figures] == [("Advice", "1"), ("Not known", "1")]


def test_checks_that_one_thing_stops_share_a_line():
    """A base that is not there is told once, with every check that waits for it."""
    missing = Judgement(CheckOutcome.COULD_NOT_CHECK, "there is no base")
    results = [CheckResult(check.code, check.title, True, missing) for check in CHECKS[:3]]
    (remedy,) = view(GateReport("s2.json", tuple(results))).remedies
    assert remedy.text.startswith("codebook-trained, loader, symbols: could not run: there is no base.")


def test_a_fix_of_the_very_case_is_shown_instead_of_the_general_one():
    """In JSON, in the case and in what to do; also of a check that could apply and does not."""
    freeze = Judgement(CheckOutcome.FAILED, "it is false", fix="Set it in this file.")
    replay = Judgement(CheckOutcome.NOT_APPLICABLE, "no code named", fix="Name this folder.")
    results = (CheckResult("freeze", "f", True, freeze), CheckResult("replay", "r", True, replay))
    document = view(GateReport("s2.json", results))
    assert [remedy.text for remedy in document.remedies] == [
        "freeze: Set it in this file.",
        "replay: Name this folder.",
    ]
    assert [case.fix for case in document.cases] == ["Set it in this file.", "Name this folder."]
    assert [check["fix"] for check in document.data["checks"]] == ["Set it in this file.", "Name this folder."]


def test_every_check_is_shown_and_explained():
    """Those that decide are explained first; a page has why and what to do, text the message."""
    document = view(MIXED)
    shown, page = text.render(document, text.Style()), html.render(document)
    for check in CHECKS:
        assert f"found in {check.code}" in shown
        assert check.code in page
    explained = next(block for block in document.blocks if block.title == "What each check is for")
    assert explained.shown is Shown.PAGE
    codes = [part.notes[0].text for part in explained.blocks]
    decisive = [case.name for case in document.cases if case.is_problem and not case.is_advice]
    assert set(codes[: len(decisive)]) == set(decisive)
    assert sorted(codes) == sorted(check.code for check in CHECKS)


def test_a_page_has_the_fix_in_the_row_and_folds_what_passed():
    """Every check is in one of both tables; a failed one has what to do beside what was found."""
    open_part, passed = (
        block
        for block in view(MIXED).blocks
        if block.shown is Shown.PAGE and block.title.startswith(("Checks", "Passed"))
    )
    assert (open_part.folded, passed.folded) == (False, True)
    rows = {row[0].text: row for part in (open_part, passed) for row in part.blocks[0].rows}
    assert set(rows) == {result.code for result in MIXED.outcomes}
    assert [rows[result.code][3] for result in MIXED.outcomes if result.fix] == [
        result.fix for result in MIXED.outcomes if result.fix
    ]
    assert {row[1].text for row in passed.blocks[0].rows} == {"passed"}


def test_outcomes_are_words_in_their_colours():
    checks = next(block for block in view(MIXED).blocks if block.title == "Checks").blocks[0]
    assert {row[1].text: row[1].tone.value for row in checks.rows} == {
        "passed": "good",
        "failed": "bad",
        "could not check": "warning",
        "not applicable": "muted",
        "skipped": "muted",
    }
    assert all(row[1].look is Look.VERDICT for row in checks.rows)


def test_json_keeps_its_contract(valid):
    parsed = valid(json.render(view(MIXED)))
    assert parsed["exit_code"] == MIXED.exit_code
    assert [check["outcome"] for check in parsed["checks"]] == [each.finding.outcome for each in MIXED.outcomes]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.code)
def test_an_explanation_has_why_and_what_to_do(check):
    shown = " ".join(text.render(explanation(check), text.Style()).split())
    assert shown.startswith(f"{check.code} ({'required' if check.required else 'advisory'}) {check.title}")
    assert check.why in shown
    assert check.fix in shown


def test_the_report_reads_as_it_should():
    """For the eye: rewrite the file where the new text is the better one."""
    assert text.render(view(MIXED), text.Style(width=80)) == GOLDEN.read_text("utf-8")
