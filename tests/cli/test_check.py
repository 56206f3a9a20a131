"""`vqcheck check` as a user runs it: one answer for a place, on every stream, whatever a file is like."""

import io
import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from vqcheck.cli import terminal
from vqcheck.cli.main import main

DEMO = Path(__file__).parents[2] / "fixtures" / "demo"
PRETRAINED = "GPT_SoVITS/pretrained_models/gsv-v2final-pretrained"


@pytest.fixture
def tree(checkpoints, tmp_path, monkeypatch):
    """A GPT-SoVITS folder with a voice that drifted (`me`, with its tokens) and one that is fine (`you`)."""
    root = tmp_path / "GPT-SoVITS"
    for source, target in (
        ("base_v2.pth", f"{PRETRAINED}/s2G2333k.pth"),
        ("drifted_v2_e8_s400.pth", "SoVITS_weights_v2/me_e8_s400.pth"),
        ("frozen_v2_e8_s400.pth", "SoVITS_weights_v2/you_e8_s400.pth"),
        ("gpt-e15.ckpt", "GPT_weights_v2/me-e15.ckpt"),
    ):
        (root / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(checkpoints / source, root / target)
    shutil.copytree(DEMO / "4-cnhubert", root / "logs" / "me" / "4-cnhubert")
    shutil.copy(DEMO / "6-name2semantic.tsv", root / "logs" / "me")
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def check(capsys):
    def run(*arguments):
        code = main(["check", *map(str, arguments)])
        return code, *capsys.readouterr()

    return run


@pytest.mark.parametrize("place", [[], ["."], ["logs/me"], ["SoVITS_weights_v2"], ["SoVITS_weights_v2/me_e8_s400.pth"]])
@pytest.mark.usefixtures("tree")
def test_the_drifted_voice_is_found_from_every_place_that_holds_it(check, place):
    code, out, errors = check(*place)
    assert (code, errors) == (1, "")
    assert out.startswith("affected  ")
    # Of one voice alone the headline says it, of several the section of each.
    assert "he newest s2 file drifted by about 37 updates; small effect" in out
    assert "Extract the tokens again" in out.partition("What to do")[2]


@pytest.mark.usefixtures("tree")
def test_one_voice_that_is_fine_is_zero_beside_one_that_is_not(check):
    assert check("SoVITS_weights_v2/you_e8_s400.pth")[0] == 0
    code, out, _ = check()
    assert out.splitlines()[0] == "affected  1 of 2 voices is affected"
    assert code == 1


def test_paths_are_shown_from_the_place_on(check, tree, valid):
    """JSON has them whole."""
    (tree / "SoVITS_weights_v2" / "broken_e1_s1.pth").write_bytes(b"PK\3\4 cut off")
    code, out, _ = check()
    assert code == 2
    assert str(tree) not in out
    assert f"{PRETRAINED}/s2G2333k.pth".replace("/", os.sep) in out
    assert str(Path("SoVITS_weights_v2", "broken_e1_s1.pth")) in out
    inside = check("logs/me")[1]
    assert str(Path(PRETRAINED, "s2G2333k.pth")) in inside
    (base,) = valid(check("--format", "json")[1])["bases"]
    assert os.path.samefile(base, tree / PRETRAINED / "s2G2333k.pth")


def test_a_file_beside_that_only_begins_like_the_place_keeps_its_path(check, tree):
    other = tree.parent / "GPT-SoVITS-old"
    other.mkdir()
    shutil.copy(tree / PRETRAINED / "s2G2333k.pth", other / "s2G2333k.pth")
    out = check("--base", other / "s2G2333k.pth")[1]
    assert str(other / "s2G2333k.pth") in out


def test_one_file_that_cannot_be_read_is_two_and_named_and_keeps_no_other_from_its_answer(check, tree):
    broken = tree / "SoVITS_weights_v2" / "broken_e1_s1.pth"
    broken.write_bytes((tree / "SoVITS_weights_v2" / "you_e8_s400.pth").read_bytes()[:-50])
    code, out, _ = check()
    assert code == 2
    headline = out.splitlines()[0]
    assert headline == "could not check  1 of 2 voices is affected; 1 file cannot be read"
    assert "broken_e1_s1.pth" in out.partition("Not readable")[2].partition("\n\n")[0]
    assert "me (v2)\n" in out


@pytest.mark.usefixtures("tree")
def test_the_number_of_readers_changes_no_document(check):
    """`--jobs` is a matter of time alone."""
    documents = [check("--format", "json", "--jobs", jobs)[1] for jobs in (1, 2, 7)]
    assert len(set(documents)) == 1
    assert check("--jobs", 0)[0] == 2


@pytest.mark.usefixtures("tree")
def test_what_was_not_asked_is_listed_with_what_is_missing(check, valid):
    document = valid(check("logs/me", "--format", "json")[1])
    (voice,) = document["voices"]
    missing = {answer["question"]: answer["missing"] for answer in voice["answers"] if answer["missing"]}
    assert missing == {"lock": "lock", "resume": "training", "freeze": "configuration"}
    listed = check("logs/me")[1].partition("Not asked")[2].partition("\n\n")[0]
    assert [line.split()[0] for line in listed.splitlines()[2:]] == ["Lock", "Resume", "Freeze"]


def test_no_base_at_all_is_two_and_says_what_to_name(check, tree):
    shutil.rmtree(tree / "GPT_SoVITS" / "pretrained_models")
    code, out, _ = check()
    assert code == 2
    assert "--base" in out.splitlines()[0]


def test_an_empty_folder_is_one_line(check, tmp_path):
    code, out, errors = check(tmp_path)
    assert (code, out, errors.count("\n")) == (2, "", 1)
    assert str(tmp_path) in errors


class Console(io.TextIOWrapper):
    """A stream of a given encoding that says it is a terminal, or not."""

    def __init__(self, encoding, *, is_terminal):
        super().__init__(io.BytesIO(), encoding=encoding, errors="strict", newline="\n")
        self._is_terminal = is_terminal

    def isatty(self):
        return self._is_terminal

    def fileno(self):
        return 1

    def text(self):
        self.flush()
        return self.buffer.getvalue().decode(self.encoding)


@pytest.fixture
def on_a_terminal(monkeypatch):
    """Runs `check` with stdout as a terminal; returns (exit status, what it shows)."""

    def run(*arguments, encoding="utf-8", columns=80, no_color=False):
        console = Console(encoding, is_terminal=True)
        monkeypatch.setattr(sys, "stdout", console)
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.delenv("NO_COLOR", raising=False)
        if no_color:
            monkeypatch.setenv("NO_COLOR", "1")
        code = main(["check", *map(str, arguments)])
        return code, console.text()

    return run


@pytest.mark.usefixtures("tree")
def test_colour_is_left_out_on_request_and_nothing_else(on_a_terminal):
    code, plain = on_a_terminal(no_color=True)
    coloured = on_a_terminal()[1]
    assert "\x1b" not in plain
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain
    assert code == 1


@pytest.mark.parametrize("columns", [30, 60, 80, 120])
def test_no_line_is_wider_than_the_terminal(on_a_terminal, tree, columns):
    """Whatever files are called; what was not asked and the bases that were compared fit, too."""
    weights = tree / "SoVITS_weights_v2"
    shutil.copy(weights / "me_e8_s400.pth", weights / f"{'a_long_name_' * 6}_e8_s400.pth")
    shutil.copy(weights / "me_e8_s400.pth", weights / "声音一号的名字_e8_s400.pth")
    base = tree / PRETRAINED / "s2G2333k.pth"
    _, out = on_a_terminal("--base", base, "--base", weights / "you_e8_s400.pth", columns=columns, no_color=True)
    from rich.cells import cell_len

    assert [line for line in out.splitlines() if cell_len(line) > columns] == []


@pytest.mark.parametrize("encoding", ["gbk", "ascii", "cp1252"])
def test_a_console_of_another_encoding_shows_what_it_can(on_a_terminal, tree, encoding):
    weights = tree / "SoVITS_weights_v2"
    shutil.copy(weights / "me_e8_s400.pth", weights / "声音🎵_e8_s400.pth")
    code, out = on_a_terminal(encoding=encoding, no_color=True)
    assert code == 1
    assert ("声音" in out) == (encoding == "gbk")
    assert "\\U0001f3b5" in out


@pytest.mark.usefixtures("tree")
def test_work_that_lasts_tells_how_far_it_is_where_no_bar_can_be_drawn(check, monkeypatch):
    """A line now and then on stderr; none for what is quick, and none with `-q`."""
    assert check()[2] == ""
    monkeypatch.setattr(terminal, "_BETWEEN_LINES", -1.0)
    code, out, errors = check("--format", "json")
    assert code == 1
    assert json.loads(out)["verdict"] == "affected"
    assert re.fullmatch(r"(vqcheck: reading checkpoints: \d+ of \d+\n)+", errors)
    assert check("-q")[1:] == ("", "")
