"""Every command in every format and with every outcome: one exit status, and a document that its readers take."""

import re
import shutil
from pathlib import Path

import pytest
import torch

import vqcheck.replay.run
from vqcheck.audit.make_lock import make_lock
from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.cli.main import main

FIXTURES = Path(__file__).parents[2] / "fixtures"
CODES = "quantizer.vq.layers.0._codebook.embed"
FORMATS = ("text", "json", "junit", "sarif", "github", "html")
UNUSED = """
import torch
from torch import nn

class Training:
    def __init__(self):
        self.module = nn.Module()
        self.module.quantize = nn.Module()
        self.module.quantize.embedding = nn.Embedding(16, 4)

    def step(self, number):
        return {"loss": torch.zeros(())}
"""


def diff(outcome, world):
    b = {"consistent": "G_400.pth", "changed": "drifted_v2_e8_s400.pth", "failed": "absent.pth"}[outcome]
    return [world.checkpoints / "base_v2.pth", world.checkpoints / b]


def stages(outcome, world):
    s2 = world.moved() if outcome == "changed" else world.base
    if outcome == "unknown":
        world.spoil_a_line()
    s1 = world.s1 if outcome != "failed" else world.checkpoints / "gpt-e15.ckpt"
    return [s1, s2, *(["--experiment", world.folder] if outcome != "failed" else [])]


def tokens(outcome, world):
    if outcome == "unknown":
        world.spoil_a_line()
    s2 = world.moved() if outcome == "changed" else world.s1 if outcome == "failed" else world.base
    return [s2, world.folder]


def history(outcome, world):
    names = {"changed": ["base_v2.pth", "G_400.pth", "G_437.pth"], "unknown": ["base_v2.pth"], "failed": []}
    folder = world.root / "run"
    folder.mkdir()
    for name in names.get(outcome, ["base_v2.pth", "G_400.pth", "gpt-e15.ckpt"]):
        shutil.copy(world.checkpoints / name, folder)
    return [folder]


def inspect(outcome, world):
    name = {"changed": "never_trained_v2.pth", "unknown": "gpt-e15.ckpt", "failed": "absent.pth"}
    return [world.checkpoints / name.get(outcome, "base_v2.pth"), "--strict"]


def lock(outcome, world):
    """Verification, against the lock of one copy."""
    with open_checkpoint(world.checkpoints / "base_v2.pth") as file:
        (world.root / "vqcheck.lock").write_text(make_lock(file, None, None).text(), "utf-8")
    path = world.checkpoints / {"changed": "G_437.pth", "failed": "gpt-e15.ckpt"}.get(outcome, "G_400.pth")
    if outcome == "unknown":
        path = world.root / "copies.pth"
        state = torch.load(world.checkpoints / "base_v2.pth", weights_only=False)["weight"]
        torch.save({"weight": state, "ema": state | {CODES: state[CODES] * 2}}, path)
    return [path, "--check", "-o", world.root / "vqcheck.lock"]


def check(outcome, world):
    """Of a folder with a base: a frozen voice, a drifted one, none to compare, or no such folder."""
    if outcome == "failed":
        return [world.root / "absent"]
    folder = world.root / "weights"
    folder.mkdir()
    shutil.copy(world.checkpoints / "base_v2.pth", folder / "s2G2333k.pth")
    names = {"consistent": ["G_400.pth"], "changed": ["G_400.pth", "drifted_v2_e8_s400.pth"]}
    for name in names.get(outcome, ["G_400.pth", "drifted_v2_e8_s400.pth"]):
        shutil.copy(world.checkpoints / name, folder)
    if outcome == "unknown":
        (folder / "cut_e1_s1.pth").write_bytes((folder / "G_400.pth").read_bytes()[:-100])
    return [folder]


def replay(outcome, world):
    (world.root / "unused.py").write_text(UNUSED, "utf-8")
    name = {
        "consistent": "factories.gradient_codebook:still",
        "changed": "factories.gradient_codebook:leaking",
        "unknown": "unused:Training",
        "failed": "absent:nothing",
    }[outcome]
    return ["--factory", name, "--steps", 2]


def gate(outcome, world):
    if outcome == "changed":
        world.write(model__freeze_quantizer=False)
    if outcome == "unknown":
        (world.folder / "vqcheck.lock").write_text("no lock", "utf-8")
    if outcome == "failed":
        world.config.write_text("{", "utf-8")
    return [world.config, "--skip", "tokens"]


SCENES = [
    (command, outcome)
    for command in (check, inspect, diff, stages, tokens, history, lock, replay, gate)
    for outcome in ("consistent", "changed", "unknown", "failed", "misused")
    if (command, outcome) != (diff, "unknown")  # whatever keeps it from a verdict ends it
]
STATUS = {"consistent": 0, "changed": 1}


@pytest.fixture
def world(sound, checkpoints):
    """A sound experiment, with the shared checkpoints at hand."""
    sound.checkpoints = checkpoints

    def spoil_a_line():
        sound.tsv.write_text(sound.tsv.read_text("utf-8") + "another.wav\tno tokens\n", "utf-8")

    def moved():
        generator = torch.Generator().manual_seed(1)
        codes = sound.state[CODES].float()
        codes = (codes + 0.2 * torch.randn(codes.shape, generator=generator)).half()
        torch.save({"weight": sound.state | {CODES: codes}}, sound.root / "moved.pth")
        return sound.root / "moved.pth"

    sound.spoil_a_line, sound.moved = spoil_a_line, moved
    return sound


@pytest.fixture(scope="module")
def remembered():
    """`replay`, which carries each configuration out once, however many formats show it."""
    original, results = vqcheck.replay.run.replay, {}

    def run(config, *_):
        key = config.model_dump_json()
        if key not in results:
            results[key] = original(config)
        return results[key]

    return run


@pytest.fixture
def run(world, remembered, monkeypatch, capsys):
    """Runs one scene in one format; returns (exit status, stdout, stderr)."""
    monkeypatch.chdir(FIXTURES)
    monkeypatch.syspath_prepend(world.root)
    monkeypatch.syspath_prepend(FIXTURES)
    monkeypatch.setattr(vqcheck.replay.run, "replay", lambda config, *_, **__: remembered(config))
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)

    def scene(command, outcome, form, *options):
        name = "diff" if command is stages else command.__name__
        arguments = ["--nonsense"] if outcome == "misused" else command(outcome, world)
        code = main([name, *map(str, arguments), "--format", form, *map(str, options)])
        return code, *capsys.readouterr()

    return scene


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("command", "outcome"), SCENES, ids=lambda each: getattr(each, "__name__", each))
def test_the_status_is_the_same_in_every_format(run, readers, command, outcome, form):
    """0, 1 and 2 do not depend on the format, and each document is valid and says the same."""
    code, out, errors = run(command, outcome, form)
    expected = STATUS.get(outcome, 2)
    assert code == expected
    assert len(errors.splitlines()) == (outcome in ("failed", "misused"))
    if form == "text":
        assert (out == "") == (outcome in ("failed", "misused"))
    else:
        readers[form](out, expected)


@pytest.mark.parametrize("outcome", ["consistent", "changed", "unknown", "failed", "misused"])
def test_a_table_is_written_with_every_outcome(run, readers, outcome):
    """CSV is the replay's alone; where nothing was measured it has a heading and no rows."""
    code, out, _ = run(replay, outcome, "csv")
    assert code == STATUS.get(outcome, 2)
    assert bool(readers["csv"](out, code)) == (outcome not in ("failed", "misused"))


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "github"])
@pytest.mark.parametrize("command", [diff, history, gate])
def test_a_file_gets_what_stdout_would(run, tmp_path, command, form):
    """`-o` changes the place alone; a file of github's is the table, which has tests of its own."""
    code, out, _ = run(command, "changed", form)
    if command is history:
        shutil.rmtree(tmp_path / "run")
    target = tmp_path / "report"
    status, beside, told = run(command, "changed", form, "-o", target)
    assert (status, beside) == (code, "")
    typed = re.compile("<code>vqcheck [^<]*</code>")
    assert typed.sub("", target.read_text("utf-8")) == typed.sub("", out)
    headline, where = told.splitlines()
    assert headline
    assert where.endswith(str(target))


@pytest.fixture
def readers(valid, read_junit, read_sarif, read_github, read_html, read_csv):
    """For each format a function that validates a document and checks that it tells this exit status."""

    def json_(text, code):
        assert valid(text)["exit_code"] == code

    def junit(text, code):
        found = read_junit(text)
        assert found.properties["exit_code"] == str(code)
        assert (found.failures > 0) >= (code == 1)
        assert (found.errors > 0) >= (code == 2)
        assert (found.failures + found.errors > 0) == (code > 0)

    def sarif(text, code):
        found = read_sarif(text)
        (invocation,) = found["invocations"]
        assert (invocation["exitCode"], invocation["executionSuccessful"]) == (code, code != 2)
        assert any(result["level"] == "error" for result in found["results"]) == (code > 0)
        assert bool(invocation["toolExecutionNotifications"]) == (code == 2)

    def github(text, code):
        assert any(kind == "error" for kind, _, _ in read_github(text)) == (code > 0)

    def html(text, code):
        assert f"Exit status {code}" in read_html(text)

    return {
        "json": json_,
        "junit": junit,
        "sarif": sarif,
        "github": github,
        "html": html,
        "csv": lambda text, _: read_csv(text),
    }
