"""Status 2: where the document goes, in which format, and whether there is one."""

import html
import os
import subprocess
import sys

import pytest

from vqcheck.cli import failure, output
from vqcheck.cli.main import main

MACHINE = ["json", "junit", "sarif", "github", "html"]


@pytest.fixture
def failing(checkpoints, tmp_path):
    """The command line of a comparison with a file that is not there."""
    return ["diff", str(checkpoints / "base_v2.pth"), str(tmp_path / "absent.pth")]


@pytest.fixture
def readers(valid, read_junit, read_sarif, read_github, read_html):
    """The readers of the formats."""
    return {"json": valid, "junit": read_junit, "sarif": read_sarif, "github": read_github, "html": read_html}


@pytest.mark.parametrize("form", MACHINE)
def test_a_failed_run_leaves_the_old_file(failing, readers, capsys, tmp_path, form):
    """With `-o` the document of a failed run goes to stdout: what was there is the last report of a run that worked."""
    target = tmp_path / "report"
    target.write_text("old", "utf-8")
    assert main([*failing, "--format", form, "-o", str(target)]) == 2
    readers[form](capsys.readouterr().out)
    assert target.read_text("utf-8") == "old"


@pytest.mark.parametrize("form", MACHINE)
@pytest.mark.parametrize("quiet", [["-q"], ["--quiet"], ["-vq"], ["-q", "-o", "file"]])
def test_quiet_is_quiet_in_status_2(failing, capsys, tmp_path, monkeypatch, form, quiet):
    """Nothing on stdout; stderr still says why."""
    monkeypatch.chdir(tmp_path)
    assert main([*failing, "--format", form, *quiet]) == 2
    out, errors = capsys.readouterr()
    assert out == ""
    assert len(errors.splitlines()) == 1
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("form", MACHINE)
@pytest.mark.parametrize(
    "arguments", [[], ["diff"], ["diff", "a", "b", "--scope", "x"], ["nonsense"], ["inspect", "absent.pth"]]
)
def test_a_command_line_that_makes_no_sense_is_a_document_too(readers, capsys, arguments, form):
    """In the format that was asked for, also of commands that have it not, or when there is no such command."""
    assert main([*arguments, "--format", form]) == 2
    readers[form](capsys.readouterr().out)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("diff a b", ("diff", "text", False, False)),
        ("diff a b --format json", ("diff", "json", False, False)),
        ("diff --format=junit a b", ("diff", "junit", False, False)),
        ("diff --format json --format sarif", ("diff", "sarif", False, False)),
        ("gate --format xml", ("gate", "text", False, False)),
        ("gate --format", ("gate", "text", False, False)),
        ("gate --format= x", ("gate", "text", False, False)),
        ("--format html gate", ("gate", "html", False, False)),
        ("nonsense --format html", ("vqcheck", "html", False, False)),
        ("gate c -vq -o f", ("gate", "text", True, True)),
        ("gate c -of", ("gate", "text", False, True)),
        ("gate c -oq", ("gate", "text", False, True)),
        ("gate c -o -q", ("gate", "text", False, True)),
        ("gate c -qo f", ("gate", "text", True, True)),
        ("gate c --output=f --quiet", ("gate", "text", True, True)),
        ("gate c --output -q", ("gate", "text", False, True)),
        ("gate -- --format json -q", ("gate", "text", False, False)),
    ],
)
def test_a_line_that_cannot_be_parsed_still_says_what_report_it_wants(line, expected):
    """As the parser would have understood it."""
    command, found = failure._wanted(line.split())
    assert (command, found.format, found.quiet, found.file is not None) == expected


def test_only_the_first_process_reports_a_failure(failing, capsys, monkeypatch):
    """Under torchrun each process fails; one document is enough, and two would be none."""
    monkeypatch.setenv("RANK", "1")
    assert main([*failing, "--format", "json"]) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("form", MACHINE)
def test_machine_formats_are_utf_8_on_every_console(checkpoints, tmp_path, form):
    """Whatever encoding the console of a Chinese or a Western Windows has."""
    named = tmp_path / "编码本é.pth"
    named.write_bytes((checkpoints / "base_v2.pth").read_bytes())
    for other, code in ((checkpoints / "G_437.pth", 1), (tmp_path / "absent.pth", 2)):
        done = subprocess.run(
            [sys.executable, "-m", "vqcheck", "diff", other, named, "--format", form],
            capture_output=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONIOENCODING": "gbk"},
            check=False,
        )
        assert done.returncode == code
        text = done.stdout.decode("utf-8")
        if form in ("github", "html") and code == 1:
            assert "编码本é" in html.unescape(text)


def test_explain_is_for_people(capsys, sound):
    """It shows no result that a document could hold."""
    assert main(["gate", "--explain", "lock"]) == 0
    assert "vqcheck lock" in capsys.readouterr().out
    assert main(["gate", str(sound.config), "--explain", "lock", "--format", "junit"]) == 2
    assert "--explain" in capsys.readouterr().err


def test_a_document_that_cannot_be_made_is_status_2(failing, capsys, monkeypatch):
    """A fault in the report of a failure is no success and no change: one more line, the same status."""

    def broken(*_):
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(output.Output, "write", broken)
    assert main([*failing, "--format", "html"]) == 2
    out, errors = capsys.readouterr()
    assert out == ""
    assert len(errors.splitlines()) == 2
    assert "ZeroDivisionError: planted" in errors


@pytest.mark.parametrize("command", ["gate", "history", "replay"])
def test_verbose_is_offered_only_where_it_shows_more(command, capsys):
    """An option that changes nothing would promise something."""
    assert main([command, "--help"]) == 0
    assert "--verbose" not in capsys.readouterr().out
    assert main([command, "-v"]) == 2


def test_every_format_is_made_without_torch(checkpoints):
    """Reading, judging and reporting need no torch, whatever the format."""
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from vqcheck.cli.main import main\n"
        "for form in sys.argv[3:]:\n"
        "    assert main(['diff', *sys.argv[1:3], '--format', form]) == 1\n"
        "    assert main(['gate', 'absent.json', '--format', form]) == 2\n"
    )
    pair = [str(checkpoints / "base_v2.pth"), str(checkpoints / "G_437.pth")]
    done = subprocess.run([sys.executable, "-c", program, *pair, *MACHINE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
