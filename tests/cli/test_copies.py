"""Copies of a VQ encoder on the command line: every command and every format tells them, and `--copy` chooses."""

import json
from xml.etree import ElementTree as ET

import pytest
import torch

from vqcheck.cli.main import main

CODEBOOK = "quantizer.vq.layers.0._codebook"
FORMATS = ("text", "json", "html", "junit", "sarif", "github")


@pytest.fixture
def files(vq_state, tmp_path):
    """A base, and a training file with an average that moved, and one whose average did not."""
    moved = vq_state()
    moved[f"{CODEBOOK}.embed"] = moved[f"{CODEBOOK}.embed"] * 1.05
    broken = {**vq_state(), f"{CODEBOOK}.embed": torch.ones(3, 2, 2, 2)}
    torch.save({"weight": vq_state()}, tmp_path / "base.pth")
    for name, ema in {"moved": moved, "same": vq_state(), "broken": broken}.items():
        torch.save({"model": vq_state(), "ema": ema}, tmp_path / f"{name}.pth")
    return tmp_path


@pytest.fixture
def run(files, capsys, monkeypatch):
    """Runs the command in this process, in the folder of the files; returns (status, stdout, stderr)."""
    monkeypatch.chdir(files)

    def call(*arguments):
        status = main([*map(str, arguments)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_of_diff_names_the_copy_that_contradicts(form, run):
    """Status 2 in each, with the name of the copy; 0 where it does not contradict, or is not chosen."""
    status, out, _ = run("diff", "base.pth", "moved.pth", "--format", form)
    assert status == 2
    assert "ema" in out
    assert "cop" in out
    assert run("diff", "base.pth", "same.pth", "--format", form)[0] == 0
    assert run("diff", "base.pth", "moved.pth", "--format", form, "--copy", "model")[0] == 0
    assert run("diff", "base.pth", "moved.pth", "--format", form, "--copy", "ema")[0] == 1


def test_documents_say_what_was_paired_and_what_was_not(run, valid):
    """JSON has pairs, copies without a partner, and why one cannot be read; junit counts what could not be checked."""
    found = valid(run("diff", "base.pth", "moved.pth", "--format", "json")[1])
    assert (found["verdict"], found["exit_code"]) == ("undecided", 2)
    assert [(pair["a"], pair["b"], pair["verdict"]) for pair in found["copies"]["pairs"]] == [
        ("weight", "model", "identical")
    ]
    assert [(copy["file"], copy["name"], copy["verdict"]) for copy in found["copies"]["unpaired"]] == [
        ("b", "ema", "changed")
    ]
    found = valid(run("diff", "base.pth", "broken.pth", "--format", "json")[1])
    assert "embed" in found["copies"]["unpaired"][0]["why"]
    suite = ET.fromstring(run("diff", "base.pth", "moved.pth", "--format", "junit")[1])
    (unchecked,) = [case for case in suite.iter("testcase") if case.find("error") is not None]
    assert "ema" in unchecked.get("name")


def test_a_wrong_name_is_one_line_with_the_names_there_are(run):
    """And more than two names are too many."""
    status, out, error = run("diff", "base.pth", "moved.pth", "--copy", "nosuch")
    assert (status, out, len(error.splitlines())) == (2, "", 1)
    assert all(name in error for name in ("nosuch", "weight", "model", "ema"))
    assert run("diff", "base.pth", "moved.pth", *["--copy", "model"] * 3)[0] == 2


def test_inspect_lists_copies(run, valid):
    """Each with its name and how it stands to the first; one that cannot be read is status 2 till another is chosen."""
    status, out, _ = run("inspect", "moved.pth")
    assert status == 0
    assert "copy 'ema'" in out
    assert "differs from 'model'" in out
    status, out, _ = run("inspect", "broken.pth")
    assert status == 2
    assert "copy 'ema' cannot be read" in out
    assert run("inspect", "broken.pth", "--copy", "model")[0] == 0
    file = valid(run("inspect", "broken.pth", "--format", "json")[1])["files"][0]
    assert (file["verdict"], [each["copy"] for each in file["unreadable"]]) == ("unreadable copy", ["ema"])
    file = valid(run("inspect", "moved.pth", "--format", "json")[1])["files"][0]
    assert [(each["copy"], each["against"], each["relation"]) for each in file["others"]] == [
        ("ema", "model", "changed")
    ]


def test_lock_binds_and_verifies_copies(run, valid):
    """The written lock lists them; a file of one copy does not answer to all of it."""
    written = valid(run("lock", "moved.pth", "--format", "json")[1])
    assert [copy["name"] for copy in written["copies"]] == ["model", "ema"]
    assert run("lock", "--check", "moved.pth")[0] == 0
    assert run("lock", "--check", "same.pth")[0] == 1
    status, out, _ = run("lock", "--check", "base.pth")
    assert status == 2
    assert "the lock's copy 'ema'" in out
    found = valid(run("lock", "--check", "base.pth", "--format", "json")[1])
    assert (found["verdict"], found["copies"]["unpaired"][0]["file"]) == ("undecided", "a")
    assert run("lock", "--check", "base.pth", "--copy", "model")[0] == 0
    assert run("lock", "base.pth", "--update")[0] == 0
    assert run("lock", "--check", "moved.pth")[0] == 2
    assert run("lock", "--check", "same.pth")[0] == 0
    assert run("lock", "broken.pth", "--update")[0] == 2


def test_history_says_which_copies_contradict(run, files, valid):
    """Status 2 until the copy is chosen, also where an average moved from one checkpoint to the next: that is told."""
    (files / "broken.pth").unlink()
    (files / "same.pth").rename(files / "later")
    (files / "moved.pth").rename(files / "G_1.pth")
    status, out, _ = run("history", ".", "--format", "json")
    assert status == 2
    (found,) = valid(out)["runs"]
    against_base = {row["name"]: (row["from_base"] or {}).get("verdict") for row in found["checkpoints"]}
    assert against_base == {"base.pth": None, "G_1.pth": "undecided"}
    for form in ("text", "html", "junit", "github"):
        status, out, _ = run("history", ".", "--format", form)
        assert status == 2
        assert "G_1.pth" in out
    assert run("history", ".", "--copy", "model")[0] == 0
    assert run("history", ".", "--copy", "ema")[0] == 1
    (files / "later").rename(files / "G_2.pth")
    status, out, _ = run("history", ".")
    assert status == 2
    assert "; the VQ encoder moved at G_2.pth" in out.splitlines()[0]
    assert run("history", ".", "--copy", "model")[0] == 0


def test_tokens_need_one_copy(run, sound):
    """Two that decide other tokens are no answer until one is chosen; two that agree are."""
    base = {name: value.clone() for name, value in sound.state.items()}
    moved = {name: value.clone() for name, value in base.items()}
    moved[f"{CODEBOOK}.embed"] = moved[f"{CODEBOOK}.embed"].flip(0).clone()
    torch.save({"model": base, "ema": moved}, sound.root / "both.pth")
    status, _, error = run("tokens", sound.root / "both.pth", sound.folder)
    assert (status, "--copy" in error, "ema" in error) == (2, True, True)
    assert run("tokens", sound.root / "both.pth", sound.folder, "--copy", "model")[0] == 0
    assert run("tokens", sound.root / "both.pth", sound.folder, "--copy", "ema")[0] == 1
    torch.save({"model": base, "ema": {name: v.clone() for name, v in base.items()}}, sound.root / "both.pth")
    assert run("tokens", sound.root / "both.pth", sound.folder)[0] == 0


def test_the_gate_judges_what_training_reads(run, sound):
    """`weight` of the pretrained generator, `model` of what it resumes from, whatever else the files hold."""
    content = torch.load(sound.base, weights_only=True)
    moved = {name: value.clone() for name, value in sound.state.items()}
    moved[f"{CODEBOOK}.embed"] = moved[f"{CODEBOOK}.embed"].flip(0).clone()

    def gate():
        status, out, _ = run("gate", sound.config, "--format", "json")
        return status, {check["code"]: check for check in json.loads(out)["checks"]}

    assert run("lock", sound.base, "--experiment", sound.folder)[0] == 0
    torch.save({**content, "model": moved}, sound.base)
    status, checks = gate()
    assert status == 0
    assert "not model" in checks["loader"]["message"]
    torch.save({**content, "weight": moved, "model": sound.state}, sound.base)
    status, checks = gate()
    assert status == 1
    assert {checks[code]["outcome"] for code in ("lock", "tokens")} == {"failed"}
    torch.save(content, sound.base)
    resumed = sound.folder / "logs_s2_v2"
    resumed.mkdir()
    for weight, model, outcome in ((moved, sound.state, "passed"), (sound.state, moved, "failed")):
        wide = {name: value.float() for name, value in model.items()}
        torch.save({"model": wide, "weight": weight, "iteration": 3, "optimizer": {}}, resumed / "G_400.pth")
        torch.save({"model": {}, "iteration": 3, "optimizer": {}}, resumed / "D_400.pth")
        assert gate()[1]["resume"]["outcome"] == outcome
