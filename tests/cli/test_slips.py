"""Slips of the hand get the command or the file that was meant, or the command line that does it."""

import pytest

from vqcheck import __version__
from vqcheck.cli.main import main


@pytest.fixture
def say(checkpoints, tmp_path, monkeypatch, capsys):
    """Runs a command line in a folder with a few files; returns (exit status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    for name in ("s2G2333k.pth", "s2D2333k.pth", "G_400.pth", "tmp_s2.json"):
        (tmp_path / name).write_bytes((checkpoints / "base_v2.pth").read_bytes())
    (tmp_path / "logs" / "me").mkdir(parents=True)
    (tmp_path / "logs" / "you").mkdir()

    def run(line):
        code = main(line.split())
        return code, *capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("dif a b", "'diff'"),
        ("Diff a b", "'diff'"),
        ("histroy logs/me", "'history'"),
        ("cheek", "'check'"),
        ("help dif", "'diff'"),
    ],
)
def test_a_command_that_does_not_exist_is_told_with_one_that_does(say, line, meant):
    code, out, errors = say(line)
    assert (code, out, errors.count("\n")) == (2, "", 1)
    assert f"did you mean {meant}?" in errors


def test_nothing_is_suggested_where_nothing_is_alike(say):
    assert "mean" not in say("nonsense")[2]
    assert "mean" not in say("inspect zzz.pth")[2]
    assert "mean" not in say("diff s2G2333k.pth nowhere/at/all/G_400.pth")[2]


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("diff s2G2333.pth G_400.pth", "s2G2333k.pth"),
        ("diff s2G2333k.pth G_40.pth", "G_400.pth"),
        ("diff s2G2333k.pth G_400.pth g_4000.pth", "G_400.pth"),
        ("inspect S2g2333K.pth2", "s2G2333k.pth"),
        ("lock s2G2333k --check", "s2G2333k.pth"),
        ("lock G_400.pth --experiment logs/mee", "logs/me"),
        ("tokens s2G2333k.pth log/me", "logs"),
        ("check logs/yuo/logs_s2_v2", "logs/you"),
        ("gate tmp_s2.jsn", "tmp_s2.json"),
    ],
)
def test_a_file_that_is_not_there_is_told_with_names_near_it(say, line, meant):
    code, _, errors = say(line)
    assert code == 2
    assert f"did you mean {meant.replace('/', __import__('os').sep)}" in errors


def test_what_is_no_checkpoint_is_told_with_its_own_kind_alone(say, tmp_path):
    (tmp_path / "vqcheck").mkdir(exist_ok=True)
    assert "mean" not in say("lock --check G_400.pth -o vqcheck.lock")[2]
    (tmp_path / "voices.lock").write_text("")
    assert "did you mean voices.lock?" in say("lock --check G_400.pth -o voice.lock")[2]


def test_nothing_is_suggested_for_a_file_that_is_to_be_written(say):
    assert "mean" not in say("inspect G_400.pth -o log/report.html")[2]


def test_names_of_files_are_escaped_where_they_are_suggested(say, tmp_path):
    (tmp_path / "G_900\x1b[31m.pth").write_bytes(b"")
    errors = say("inspect G_900x[31m.pth")[2]
    assert "G_900\\x1b[31m.pth" in errors
    assert "\x1b" not in errors


def test_version_and_help_have_the_short_forms_that_people_try(say):
    assert say("-V") == (0, f"vqcheck, version {__version__}\n", "")
    assert say("help") == say("--help")
    assert say("help diff") == say("diff --help")
    assert say("help diff")[0] == 0
