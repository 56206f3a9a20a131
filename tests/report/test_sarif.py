"""SARIF: locations that code hosts understand, and findings that are recognised again."""

import json
import os
from pathlib import PurePosixPath, PureWindowsPath

import jsonschema
import pytest
from vqcheck.report.cases.case import COULD_NOT_CHECK, FAILED, PASSED, Case, Rule, Run

from vqcheck.cli.main import main
from vqcheck.report import sarif
from vqcheck.report.render.place import in_workspace, uri

RULE = Rule("diff/codes-changed", "the codes are the same", "What to do.")


def run_of(*cases):
    code = 1 if cases and cases[0].outcome == FAILED else 0
    return Run("diff", "a and b", "changed", code, "The codebook drifted.", cases)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (PurePosixPath("logs/me/G_400.pth"), "logs/me/G_400.pth"),
        (PurePosixPath("/models/s2 G.pth"), "file:///models/s2%20G.pth"),
        (PurePosixPath("编码/100%?.pth"), "%E7%BC%96%E7%A0%81/100%25%3F.pth"),
        (PurePosixPath("a:b.pth"), "a%3Ab.pth"),
        (PurePosixPath("a\\b.pth"), "a%5Cb.pth"),
        (PurePosixPath("caf\udce9.pth"), "caf%E9.pth"),
        (PureWindowsPath(r"logs\me\G 400.pth"), "logs/me/G%20400.pth"),
        (PureWindowsPath(r"C:\Users\me\G_400.pth"), "file:///C:/Users/me/G_400.pth"),
        (PureWindowsPath(r"\\server\share\G#400.pth"), "file://server/share/G%23400.pth"),
    ],
)
def test_paths_become_uris(path, expected):
    """Percent-encoded, of Windows paths too; what is relative stays relative."""
    assert uri(path) == expected


def test_files_are_named_from_the_root_of_the_repository(tmp_path, monkeypatch):
    """Code hosts look from there, wherever the command was run; what lies outside is named in full."""
    (tmp_path / "repository" / "sub").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "repository" / "sub")
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    assert in_workspace("G.pth").as_posix() == "G.pth"
    assert in_workspace(str(tmp_path / "repository" / "sub" / "x" / "G.pth")).as_posix() == "x/G.pth"
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path / "repository"))
    assert in_workspace("G.pth").as_posix() == "sub/G.pth"
    assert in_workspace("../G.pth").as_posix() == "G.pth"
    assert in_workspace("../../G.pth") == type(in_workspace("G.pth"))(tmp_path / "G.pth")
    assert in_workspace("..G.pth").as_posix() == "sub/..G.pth"


def test_a_finding_is_recognised_again(read_sarif):
    """The fingerprint depends on rule, name and file name alone: not on the folder, the line or the figures."""
    first = Case(RULE, "codes", FAILED, "2 of 9 rows", "/home/me/G_400.pth", 3)
    again = Case(RULE, "codes", FAILED, "7 of 9 rows", "D/G_400.pth", 8)
    assert first.fingerprint == again.fingerprint == "f3b322475a6f5a237757f0123a53494d"
    others = [
        Case(RULE, "ema_sum", FAILED, "", first.path),
        Case(RULE, "codes", FAILED, "", "/home/me/G_800.pth"),
        Case(Rule("diff/other", "t", "h"), "codes", FAILED, "", first.path),
    ]
    found = read_sarif(sarif.document(run_of(first, *others)))["results"]
    assert len({result["partialFingerprints"]["vqcheck/v1"] for result in found}) == 4


def test_what_passed_is_no_result(read_sarif):
    """Code scanning makes an alert of every result; a rule is listed all the same, so that it can be told as kept."""
    run = read_sarif(sarif.document(run_of(Case(RULE, "codes", PASSED, "identical", "b.pth"))))
    assert run["results"] == []
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["diff/codes-changed"]
    assert run["invocations"][0]["executionSuccessful"]


def test_a_key_at_the_head_of_a_title_keeps_its_spelling(read_sarif):
    """A title becomes a sentence, but who searches for `freeze_quantizer` must find it."""
    for title, sentence in (
        ("freeze_quantizer is on", "freeze_quantizer is on."),
        ("the codes are the same", "The codes are the same."),
    ):
        case = Case(Rule("gate/freeze", title, "help"), "freeze", PASSED, "")
        (rule,) = read_sarif(sarif.document(run_of(case)))["tool"]["driver"]["rules"]
        assert rule["shortDescription"]["text"] == sentence


def test_an_advisory_finding_is_a_warning(read_sarif):
    """It is shown, and does not look like what closed the gate."""
    run = read_sarif(sarif.document(run_of(Case(RULE, "codes", FAILED, "words", "b.pth", advisory=True))))
    assert [result["level"] for result in run["results"]] == ["warning"]


def test_more_results_than_a_code_host_takes_are_left_out_and_told_of():
    """Code scanning refuses a document of more than 25,000 results as a whole."""
    cases = [Case(RULE, f"item {number}", FAILED, "words", "x.tsv", number) for number in range(25_003)]
    (run,) = json.loads(sarif.document(run_of(*cases)))["runs"]
    assert len(run["results"]) == 25_000
    assert run["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"].startswith("3 further results")


def test_the_location_is_the_line_that_wrote(read_sarif, capsys, monkeypatch):
    """A replay points into the user's own file, from the root of the repository."""
    fixtures = os.path.join(os.path.dirname(__file__), "..", "..", "fixtures")
    monkeypatch.chdir(fixtures)
    monkeypatch.syspath_prepend(os.path.abspath(fixtures))
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    arguments = ["replay", "--factory", "factories.vector_quantize:leaking", "--steps", "2", "--format", "sarif"]
    assert main(arguments) == 1
    results = read_sarif(capsys.readouterr().out)["results"]
    assert {result["ruleId"] for result in results} == {"replay/drifted"}
    for result in results:
        physical = result["locations"][0]["physicalLocation"]
        assert physical["artifactLocation"] == {"uri": "factories/vector_quantize.py", "uriBaseId": "%SRCROOT%"}
        with open("factories/vector_quantize.py", encoding="utf-8") as file:
            line = file.read().splitlines()[physical["region"]["startLine"] - 1]
        assert "(" in line  # a call


def test_the_document_is_the_same_on_every_run(checkpoints, capsys):
    """No time, host name or identifier that differs from run to run."""
    arguments = ["diff", str(checkpoints / "base_v2.pth"), str(checkpoints / "G_437.pth"), "--format"]
    for form in ("sarif", "junit", "github"):
        texts = set()
        for _ in range(2):
            main([*arguments, form])
            texts.add(capsys.readouterr().out)
        assert len(texts) == 1


@pytest.mark.parametrize("fault", ["version", "level", "message", "line"])
def test_the_validator_refuses_what_is_wrong(sarif_validator, fault):
    """The schema of the tests is the real one: a document with a fault in it is refused."""
    document = json.loads(sarif.document(run_of(Case(RULE, "codes", FAILED, "words", "b.pth"))))
    sarif_validator.validate(document)
    result = document["runs"][0]["results"][0]
    if fault == "version":
        document["version"] = "2.0"
    if fault == "level":
        result["level"] = "fatal"
    if fault == "message":
        result["message"] = "words"
    if fault == "line":
        result["locations"][0]["physicalLocation"]["region"]["startLine"] = 0
    with pytest.raises(jsonschema.ValidationError):
        sarif_validator.validate(document)


def test_a_run_that_could_not_check_says_so_twice(read_sarif):
    """As a failed invocation, and as a result: code scanning takes a document without results for a clean one."""
    case = Case(RULE, "codes", COULD_NOT_CHECK, "cannot be read", "b.pth")
    run = read_sarif(sarif.document(Run("diff", "a and b", "could not check", 2, "words", (case,))))
    assert not run["invocations"][0]["executionSuccessful"]
    assert run["invocations"][0]["toolExecutionNotifications"][0]["level"] == "error"
    assert run["results"][0]["message"]["text"] == "codes: could not check: cannot be read"
