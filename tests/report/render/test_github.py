"""GitHub Actions: annotations for the log, the table for the step's summary page, and where each goes."""

import pytest

from vqcheck.cli.main import main
from vqcheck.report.document import Case, CaseOutcome, Document, Rule, Status, Weight
from vqcheck.report.render import github

RULE = Rule("gate/freeze", "freeze_quantizer is on", "Set it.")


def run_of(*cases):
    return Document("gate", Status.INCONSISTENT, "closed", "do not start s2 training", "s2.json", cases, {})


@pytest.fixture
def page(tmp_path, monkeypatch):
    """The summary page of a workflow step, on which an earlier command has written."""
    page = tmp_path / "summary.md"
    page.write_text("earlier\n", "utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    return page


@pytest.fixture
def pair(checkpoints):
    """The command line of a drifted pair."""
    return ["diff", str(checkpoints / "base_v2.pth"), str(checkpoints / "G_437.pth"), "--format", "github"]


def test_what_decides_comes_first(read_github, tmp_path, monkeypatch):
    """GitHub shows the first ten errors of a step: failures, then what could not be checked, then advice."""
    monkeypatch.chdir(tmp_path)
    outcomes = [
        (CaseOutcome.PASSED, Weight.REQUIRED),
        (CaseOutcome.FAILED, Weight.ADVICE),
        (CaseOutcome.COULD_NOT_CHECK, Weight.REQUIRED),
        (CaseOutcome.NOT_APPLICABLE, Weight.REQUIRED),
        (CaseOutcome.FAILED, Weight.REQUIRED),
    ]
    cases = [Case(RULE, str(n), outcome, "words", "s2.json", n, weight) for n, (outcome, weight) in enumerate(outcomes)]
    found = read_github(github.render(run_of(*cases)))
    assert [(kind, properties["title"], message) for kind, properties, message in found] == [
        ("error", "vqcheck gate: 4", "words"),
        ("error", "vqcheck gate: 2", "could not check: words"),
        ("warning", "vqcheck gate: 1", "words"),
    ]
    assert found[0][1] == {"file": "s2.json", "line": "4", "title": "vqcheck gate: 4"}
    rows = [line for line in github.summary(run_of(*cases)).splitlines() if line.startswith("| ")][1:]
    assert [row.split(" | ")[0] for row in rows] == [
        "| failed",
        "| could not check",
        "| passed",
        "| not applicable",
        "| failed (advice)",
    ]


def test_what_a_runner_would_drop_is_counted(read_github):
    """Beyond ten errors the last one says how many there are, and the summary beyond a hundred rows."""
    ten = [Case(RULE, str(number), CaseOutcome.FAILED, "words") for number in range(10)]
    assert len(read_github(github.render(run_of(*ten)))) == 10
    many = [Case(RULE, str(number), CaseOutcome.FAILED, "words") for number in range(150)]
    found = read_github(github.render(run_of(*many)))
    assert len(found) == 10
    assert found[-1][2] == "141 more checks did not pass; the summary of this step lists them"
    text = github.summary(run_of(*many, Case(RULE, "x", CaseOutcome.PASSED, "words")))
    assert text.count("| failed |") == 100
    assert text.endswith("And 51 more: 50 failed, 1 passed.\n\n")


def test_the_table_is_added_to_the_step_summary(page, pair, capsys, read_github):
    """What other commands wrote stays; stdout has the annotations."""
    assert main(pair) == 1
    assert len(read_github(capsys.readouterr().out)) == 3
    text = page.read_text("utf-8")
    assert text.startswith("earlier\n### vqcheck diff: changed\n")
    assert text.count("| failed |") == 3
    assert text.count("| passed |") == 3


def test_a_file_gets_the_table_in_place_of_the_page(page, pair, capsys, read_github, tmp_path):
    """Annotations count only on stdout, so `-o` names the Markdown; `-q` silences the annotations."""
    target = tmp_path / "table.md"
    assert main([*pair, "-o", str(target)]) == 1
    assert len(read_github(capsys.readouterr().out)) == 3
    assert target.read_text("utf-8").startswith("### vqcheck diff: changed\n")
    assert main([*pair, "-q", "-o", str(target)]) == 1
    assert capsys.readouterr().out == ""
    assert page.read_text("utf-8") == "earlier\n"


def test_a_failed_run_is_on_the_page_too(page, pair, capsys, read_github, tmp_path):
    """Also when the command line makes no sense; a file named with `-o` stays as it was."""
    assert main([*pair, "--nonsense"]) == 2
    ((kind, _, message),) = read_github(capsys.readouterr().out)
    assert (kind, message.startswith("could not check: No such option")) == ("error", True)
    assert "could not check" in page.read_text("utf-8")
    target = tmp_path / "table.md"
    target.write_text("old", "utf-8")
    assert main([*pair, "--nonsense", "-o", str(target)]) == 2
    assert target.read_text("utf-8") == "old"


def test_a_page_that_cannot_be_written_is_status_2(page, pair, capsys, monkeypatch):
    """One line names it; the run is still annotated, and nothing else is raised."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page.parent / "absent" / "summary.md"))
    assert main(pair) == 2
    out, errors = capsys.readouterr()
    assert "the step summary cannot be written" in errors
    assert "::error" in out


def test_a_file_outside_the_repository_is_named_in_words(read_github, tmp_path, monkeypatch):
    """The runner could not show it; once is enough, where the message names it already."""
    (tmp_path / "repository").mkdir()
    monkeypatch.chdir(tmp_path / "repository")
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    path = str(tmp_path / "models" / "G.pth")
    cases = [
        Case(RULE, "a", CaseOutcome.FAILED, "moved", path, 3),
        Case(RULE, "b", CaseOutcome.FAILED, f"{path}: moved", path),
    ]
    found = read_github(github.render(run_of(*cases)))
    assert [message for _, _, message in found] == [f"moved ({path}:3)", f"{path}: moved"]
    assert all("file" not in properties for _, properties, _ in found)
