"""`-o FILE`: the ending decides the format, the terminal hears what it came to and where it is, `-` is stdout."""

import csv
import io
import json
import re
import sys
from xml.etree import ElementTree as ET

import pytest

from vqcheck.cli.main import main


@pytest.fixture
def diff(checkpoints, tmp_path, monkeypatch, capsys):
    """Compares a base with a drifted file; returns (exit status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)

    def run(*options, b="G_437.pth"):
        code = main(["diff", str(checkpoints / "base_v2.pth"), str(checkpoints / b), *map(str, options)])
        return code, *capsys.readouterr()

    return run


def is_json(text):
    return json.loads(text)["schema"] == "vqcheck/diff/1"


def is_sarif(text):
    return json.loads(text)["version"] == "2.1.0"


def is_junit(text):
    return ET.fromstring(text).tag == "testsuites"


def is_page(text):
    return text.startswith("<!doctype html>")


def is_table(text):
    return next(csv.reader(io.StringIO(text)))[:2] == ["check", "name"]


def is_markdown(text):
    return text.startswith("### vqcheck diff") and "::error" not in text


def is_text(text):
    return text.startswith("changed  The codebook drifted")


@pytest.mark.parametrize(
    ("name", "is_of_it"),
    [
        ("a.json", is_json),
        ("A.JSON", is_json),
        ("a.html", is_page),
        ("a.htm", is_page),
        ("a.xml", is_junit),
        ("a.sarif", is_sarif),
        ("a.csv", is_table),
        ("a.md", is_markdown),
        ("a.txt", is_text),
        ("a", is_text),
        ("json", is_text),
        ("a.json.txt", is_text),
    ],
)
def test_the_format_follows_the_ending(diff, tmp_path, name, is_of_it):
    code, out, errors = diff("-o", name)
    assert (code, out) == (1, "")
    assert is_of_it((tmp_path / name).read_text("utf-8"))
    headline, where = errors.splitlines()
    assert headline.startswith("changed  The codebook drifted: 37 EMA updates")
    assert where.endswith(f" {name}")


def test_a_format_that_is_named_wins(diff, tmp_path):
    diff("-o", "a.json", "--format", "html")
    assert is_page((tmp_path / "a.json").read_text("utf-8"))
    diff("-o", "b.html", "--format", "text")
    assert is_text((tmp_path / "b.html").read_text("utf-8"))


def test_annotations_are_written_where_github_is_named_and_not_where_a_table_is(diff):
    """`.md` asks for the table; `--format github` for the annotations, and the file gets the table."""
    assert diff("-o", "a.md")[1] == ""
    assert "\n::error" in diff("-o", "a.md", "--format", "github")[1]


def test_quiet_writes_the_file_and_says_nothing(diff, tmp_path):
    assert diff("-o", "a.json", "-q") == (1, "", "")
    assert is_json((tmp_path / "a.json").read_text("utf-8"))


@pytest.mark.parametrize("form", ["text", "json", "html"])
def test_a_dash_is_stdout(diff, tmp_path, form):
    typed = re.compile("<code>vqcheck [^<]*</code>")
    code, out, errors = diff("-o", "-", "--format", form)
    assert (code, typed.sub("", out), errors) == tuple(
        typed.sub("", each) if isinstance(each, str) else each for each in diff("--format", form)
    )
    assert list(tmp_path.iterdir()) == []


def test_the_headline_of_equal_files_is_their_one_line(diff):
    _, _, errors = diff("-o", "a.html", b="G_400.pth")
    assert errors.splitlines()[0].startswith("identical  sha256-f32v1 a999277e57d9  same VQ encoder")


def test_a_failed_run_is_of_the_format_that_the_ending_asks_for(diff, tmp_path, valid):
    """A machine gets its document on stdout; a person at a terminal, who wanted it in a file, gets the line alone."""
    code, out, errors = diff("-o", "a.json", b="absent.pth")
    assert (code, valid(out)["exit_code"], errors.count("\n")) == (2, 2, 1)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_run_fills_no_terminal_with_a_page(diff, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    code, out, errors = diff("-o", "a.html", b="absent.pth")
    assert (code, out, errors.count("\n")) == (2, "", 1)


def test_a_lock_may_go_to_stdout_and_its_report_to_a_file(checkpoints, tmp_path, monkeypatch, capsys):
    """What goes to stdout is the lock and nothing else."""
    monkeypatch.chdir(tmp_path)
    base = str(checkpoints / "base_v2.pth")
    assert main(["lock", base, "-o", "a.lock", "--report", "a.json"]) == 0
    out, errors = capsys.readouterr()
    assert out == ""
    assert errors.splitlines()[1].endswith(" a.json")
    assert json.loads((tmp_path / "a.json").read_text("utf-8"))["verdict"] == "written"
    assert main(["lock", base, "-o", "-"]) == 0
    out, errors = capsys.readouterr()
    assert out == (tmp_path / "a.lock").read_text("utf-8")
    assert errors.startswith("written  ")
    assert main(["lock", base, "-o", "-", "--format", "json"]) == 2
    assert main(["lock", base, "-o", "-", "--check"]) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.lock"]
