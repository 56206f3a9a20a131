"""Commands on remote files: what is named, what is offered, and that no output has what an address keeps to itself."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from loopback import serving

from vqcheck.checkpoint.remote.transfers import Limits, with_transfers
from vqcheck.cli.main import main

FIXTURES = Path(__file__).parents[2] / "fixtures"
CHECKPOINTS = FIXTURES / "checkpoints"
BASE, DRIFTED, FROZEN = (
    CHECKPOINTS / name for name in ("base_v2.pth", "drifted_v2_e8_s400.pth", "frozen_v2_e8_s400.pth")
)


@pytest.fixture
def served(monkeypatch, tmp_path):
    """A server with the fixtures, whose files take a login; the working directory is empty."""
    for name in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.chdir(tmp_path)

    def answer(handler):
        if handler.headers.get("Authorization") == "Basic c29tZWJvZHk6c2VjcmV0" and "sig=secret" in handler.path:
            return False
        handler.say(403, {})
        return True

    files = {f"/{each.name}": each for each in CHECKPOINTS.iterdir() if each.is_file()}
    with serving(files=files, answer=answer) as server, with_transfers(limits=Limits(tries=1)):
        yield server


@pytest.fixture
def remote(served):
    """Return the address of a fixture, with login and signature."""
    host = served.url.replace("//", "//somebody:secret@")
    return lambda path: f"{host}/{getattr(path, 'name', path)}?sig=secret"


COMMANDS = {
    "diff": (lambda r: ["diff", r(BASE), FROZEN], 0),
    "diff remote B": (lambda r: ["diff", BASE, r(DRIFTED)], 1),
    "diff many": (lambda r: ["diff", r(BASE), r(FROZEN), DRIFTED, r("absent.pth")], 2),
    "inspect": (lambda r: ["inspect", r(BASE), r("absent.pth")], 2),
    "tokens": (lambda r: ["tokens", r(BASE), FIXTURES / "demo", "--against", r(DRIFTED)], 0),
    "history": (lambda r: ["history", CHECKPOINTS, "--base", r(BASE)], 1),
    "check base": (lambda r: ["check", DRIFTED, "--base", r(BASE)], 1),
    "check file": (lambda r: ["check", r(DRIFTED), "--base", BASE], 1),
    "lock": (lambda r: ["lock", r(BASE)], 0),
    "extract": (lambda r: ["extract", r(BASE), "-o", "vq.safetensors"], 0),
    "restore": (lambda r: ["restore", r(BASE), DRIFTED, "-o", "out.pth"], 0),
    "restore remote": (lambda r: ["restore", BASE, r(DRIFTED), "-o", "out.pth"], 2),
    "restore download": (lambda r: ["restore", BASE, r(DRIFTED), "-o", "out.pth", "--download"], 0),
    "s1": (lambda r: ["diff", r("gpt-e15.ckpt"), r(DRIFTED)], 2),
    "a whole s1": (lambda r: ["lock", BASE, "--s1", r("gpt-e15.ckpt")], 2),
    "one too many": (lambda r: ["extract", r(BASE), r(DRIFTED), "-o", "x"], 2),
    "a lock": (lambda r: ["lock", "--check", r(BASE), "-o", r("vqcheck.lock")], 2),
    "a configuration": (lambda r: ["gate", r(BASE)], 2),
    "an experiment": (lambda r: ["tokens", BASE, r("demo")], 2),
    "a run": (lambda r: ["history", r(BASE)], 2),
    "a replay": (lambda r: ["replay", r(BASE)], 2),
    "a family": (lambda r: ["diff", BASE, FROZEN, "--family", r(BASE)], 2),
    "a lost slash": (lambda r: ["inspect", r(BASE).replace("//", "/"), BASE], 2),
    "a space in front": (lambda r: ["diff", f" {r(BASE)}", FROZEN, DRIFTED], 2),
    "one in another": (lambda r: ["inspect", f"simplecache::{r(BASE)}"], 2),
    "a query for a hub": (lambda _: ["inspect", "hf://me/voices/a.pth?token=secret"], 2),
    "an option": (lambda r: ["diff", r(BASE), FROZEN, f"--nothing={r(BASE)}"], 2),
}


def written(folder):
    return "".join(each.read_bytes().decode("utf-8", "replace") for each in folder.rglob("*") if each.is_file())


@pytest.mark.parametrize("kind", ["text", "json", "html"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_reads_remote_files_and_keeps_their_logins_to_itself(name, kind, remote, capsys, tmp_path):
    arguments, status = COMMANDS[name]
    report = "--report" if arguments(remote)[0] in ("extract", "restore", "lock") else "-o"
    assert main([*map(str, arguments(remote)), "--format", kind, report, "report.out"]) == status
    shown = capsys.readouterr()
    everything = shown.out + shown.err + written(tmp_path)
    assert "secret" not in everything
    assert "somebody" not in everything
    assert everything


def test_the_name_in_a_report_is_the_address(remote, served, capsys):
    assert main(["inspect", remote(BASE), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"][0]["path"] == f"{served.url}/{BASE.name}"


def test_code_hosts_are_told_the_address(remote, served, capsys):
    assert main(["diff", str(BASE), remote(DRIFTED), "--format", "sarif"]) == 1
    run = json.loads(capsys.readouterr().out)["runs"][0]
    places = {each["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for each in run["results"]}
    assert places == {f"{served.url}/{DRIFTED.name}"}
    assert main(["diff", str(BASE), remote(DRIFTED), "--format", "github"]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("::error")]
    assert lines
    assert all("file=" not in line and DRIFTED.name in line for line in lines)


def test_a_lock_of_a_remote_file_is_that_of_the_file(remote, capsys):
    assert main(["lock", remote(BASE), "-o", "remote.lock"]) == 0
    assert main(["lock", str(BASE), "-o", "local.lock"]) == 0
    assert Path("remote.lock").read_text() == Path("local.lock").read_text()
    capsys.readouterr()
    assert main(["lock", "--check", remote(FROZEN), "-o", "local.lock"]) == 0
    assert main(["lock", "--check", remote(DRIFTED), "-o", "local.lock"]) == 1


def test_a_server_without_parts_is_named_with_what_helps(remote, served, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    served.ranges = False
    served.files["/base_v2.pth"] = BASE.read_bytes() + bytes(4_000_000)
    assert main(["diff", remote(BASE), str(FROZEN)]) == 2
    assert re.search(r"127\.0\.0\.1:\d+ does not send parts of files.*--download", capsys.readouterr().err)
    served.files["/base_v2.pth"] = BASE
    assert main(["diff", remote(BASE), str(FROZEN), "--download"]) == 0
    assert not os.listdir(tmp_path)


def test_help_says_that_files_may_be_remote(capsys):
    assert main(["diff", "--help"]) == 0
    assert "--download" in capsys.readouterr().out


CONFIG = {
    "train": {"pretrained_s2G": "", "freeze_quantizer": True},
    "data": {"exp_dir": str(FIXTURES / "demo")},
    "model": {"version": "v2"},
    "name": "demo",
    "s2_ckpt_dir": "logs/demo",
}


def test_an_address_in_a_configuration_is_never_fetched(remote, served, capsys, tmp_path):
    """Nor where a file of such a name lies here, which would pass for one that is there."""
    named = remote(BASE)
    Path("s2.json").write_text(json.dumps({**CONFIG, "train": {**CONFIG["train"], "pretrained_s2G": named}}))
    Path("replay.toml").write_text(f'[subject]\nversion = "tiny"\npretrained_s2G = "{named}"\n')
    commands = (
        ["gate", "s2.json", "--only", "codebook-trained"],
        ["replay", "replay.toml", "--steps", "1"],
        ["history", "."],
        ["check"],
    )
    shutil.copy(DRIFTED, "G_400.pth")
    for command in commands:
        assert main(command) == 2
        shown = "".join(capsys.readouterr())
        assert "secret" not in shown
        if command[0] in ("gate", "replay"):
            assert "an address in a configuration is never fetched" in " ".join(shown.split())
    decoy = tmp_path / named.replace("://", ":/")
    decoy.parent.mkdir(parents=True)
    decoy.write_bytes(BASE.read_bytes())
    for command in commands:
        main(command)
    assert not served.asked


@pytest.mark.parametrize("quiet", [True, False])
def test_what_is_on_its_way_is_shown(remote, served, capsys, monkeypatch, quiet):
    monkeypatch.setattr("vqcheck.cli.terminal._BETWEEN_LINES", 0)
    monkeypatch.setattr("vqcheck.checkpoint.remote.web._PIECE", 1 << 12)
    assert main(["diff", remote(BASE), str(FROZEN), *(["--quiet"] if quiet else [])]) == 0
    host = served.url.removeprefix("http://")
    assert (f"reading from {host}, in KB: 4 of 32" in capsys.readouterr().err) is not quiet
