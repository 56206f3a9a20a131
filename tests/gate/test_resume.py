"""The gate's checks on earlier checkpoints: they fire on the file that training would resume from, and on no other."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from vqcheck.cli.main import main

CODEBOOK = "quantizer.vq.layers.0._codebook"


@pytest.fixture
def gate(sound, capsys):
    """Runs the two checks; returns the exit status, and outcome and message of each."""

    def run(config=None):
        code = main(
            ["gate", str(config or sound.config), "--only", "resume", "--only", "resume-elsewhere", "--format", "json"]
        )
        checks = {check["code"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
        resume, elsewhere = checks["resume"], checks["resume-elsewhere"]
        assert (resume["required"], elsewhere["required"]) == (True, False)
        return SimpleNamespace(
            code=code,
            resume=resume["outcome"],
            told=resume["message"],
            elsewhere=elsewhere["outcome"],
            advice=elsewhere["message"],
        )

    return run


@pytest.fixture
def put(sound):
    """Saves a float32 training file of the base's VQ encoder, drifted or not, and an empty D_* beside it."""

    def write(path, drifted=False, discriminator=True):
        path = sound.folder / path
        path.parent.mkdir(exist_ok=True)
        state = {name: value.float() for name, value in sound.state.items()}
        if drifted:
            state[f"{CODEBOOK}.cluster_size"] *= 0.99
        torch.save({"model": state, "iteration": 1, "optimizer": {}}, path)
        if discriminator:
            path.with_name(path.name.replace("G_", "D_")).touch()

    return write


def test_nothing_to_resume_from_names_the_folders(gate):
    """Without any checkpoint both pass, and say where they looked."""
    found = gate()
    assert (found.code, found.resume, found.elsewhere) == (0, "passed", "passed")
    assert found.told == "there is no checkpoint of an earlier run to resume from (looked in logs_s2_v2)"
    assert "looked in logs_s2:" in found.advice


def test_a_generator_without_its_discriminator_is_not_denied(gate, put):
    """It is not resumed from, and so not compared: the gate does not say that there is none that drifted."""
    put("logs_s2/G_100.pth", drifted=True, discriminator=False)
    found = gate()
    assert (found.code, found.elsewhere) == (0, "passed")
    assert found.advice == "looked in logs_s2: no checkpoint to resume from with another VQ encoder"


@pytest.mark.parametrize("drifted", [True, False])
@pytest.mark.parametrize(
    ("version", "rank", "folder", "discriminator"),
    [
        ("v2", "32", "logs_s2_v2", True),
        ("v2Pro", None, "logs_s2_v2Pro", True),
        (None, None, "logs_s2", True),
        ("v3", "32", "logs_s2_v3_lora_32", False),
        ("v4", None, "logs_s2_v4", False),
    ],
)
def test_the_folder_that_is_read_decides(gate, sound, put, version, rank, folder, discriminator, drifted):
    """A drifted file in it closes the gate, a frozen one is named and passes."""
    sound.write(model__version=version, train__lora_rank=rank)
    put(f"{folder}/G_900.pth", drifted, discriminator)
    found = gate()
    assert (found.code, found.resume) == ((1, "failed") if drifted else (0, "passed"))
    assert f"{folder}/G_900.pth" in found.told.replace("\\", "/")
    assert f"looked in {folder})" in found.told
    assert found.elsewhere == "passed"


@pytest.mark.parametrize("drifted", [True, False])
@pytest.mark.parametrize(
    ("version", "rank", "folder", "reader"),
    [
        ("v2", None, "logs_s2", "older trees"),
        (None, None, "logs_s2_v2", "newer trees"),
        ("v3", "32", "logs_s2", "older trees"),
        ("v3", "32", "logs_s2_v3", "full training"),
        ("v3", None, "logs_s2_v3_lora_8", "LoRA training"),
    ],
)
def test_other_folders_are_advice(gate, sound, put, version, rank, folder, reader, drifted):
    """What another tree would resume from is told and closes nothing."""
    sound.write(model__version=version, train__lora_rank=rank)
    put(f"{folder}/G_2.pth", drifted)
    found = gate()
    assert (found.code, found.resume) == (0, "passed")
    assert found.elsewhere == ("failed" if drifted else "passed")
    assert (f"{reader} would resume from" in found.advice) == drifted


@pytest.mark.parametrize(("version", "resumed"), [("v1", False), ("v2", False), ("v2ProPlus", False), ("v3", True)])
def test_a_generator_without_its_discriminator(gate, sound, put, version, resumed):
    """v1, v2 and the Pro versions do not resume from it, and are told so; v3 has no D_*."""
    sound.write(model__version=version)
    put(f"logs_s2_{version}/G_900.pth", drifted=True, discriminator=False)
    found = gate()
    assert (found.code, found.resume) == ((1, "failed") if resumed else (0, "passed"))
    assert ("G_900.pth is not resumed from: there is no D_*.pth beside it" in found.told) == (not resumed)


def test_the_latest_decides(gate, put):
    """A later frozen file hides an earlier drifted one, and that of "save latest only" comes last of all."""
    put("logs_s2_v2/G_900.pth", drifted=True)
    put("logs_s2_v2/G_1000.pth")
    assert gate().code == 0
    put("logs_s2_v2/G_233333333333.pth", drifted=True)
    found = gate()
    assert found.code == 1
    assert "G_233333333333.pth" in found.told


@pytest.mark.parametrize("info", [None, "8epoch_400iteration"])
@pytest.mark.parametrize("steps", [0.0, 0.3])
def test_what_rounds_to_the_base_has_moved_all_the_same(gate, sound, put, steps, info):
    """A training file within half a float16 step of the base, be that an export, is not it; exactly on it, it is."""
    if info:
        torch.save({"weight": sound.state, "info": info}, sound.base)
    put("logs_s2_v2/G_900.pth")
    path = sound.folder / "logs_s2_v2" / "G_900.pth"
    content = torch.load(path, weights_only=True)
    name = f"{CODEBOOK}.embed"
    stored = sound.state[name]
    step = torch.nextafter(stored, torch.full_like(stored, 6e4)).float() - stored.float()
    content["model"][name] += steps * step
    assert torch.equal(content["model"][name].half(), stored)
    torch.save(content, path)
    found = gate()
    assert (found.code, found.resume) == ((1, "failed") if steps else (0, "passed"))


def test_a_file_that_cannot_be_read_could_not_be_checked(gate, sound, put):
    """It is never green where it would be resumed from; elsewhere it is advice."""
    put("logs_s2_v2/G_900.pth")
    (sound.folder / "logs_s2_v2" / "G_900.pth").write_bytes(b"PK\x03\x04")
    found = gate()
    assert (found.code, found.resume) == (2, "could not check")
    (sound.folder / "logs_s2_v2").rename(sound.folder / "logs_s2")
    found = gate()
    assert (found.code, found.resume, found.elsewhere) == (0, "passed", "could not check")


def test_an_export_in_the_folder_is_no_checkpoint_to_resume_from(gate, sound, checkpoints):
    """A LoRA export under a training checkpoint's name cannot be resumed from, and is called out."""
    folder = sound.folder / "logs_s2_v2"
    folder.mkdir()
    (folder / "D_900.pth").touch()
    (folder / "G_900.pth").write_bytes((checkpoints / "lora_v3_e2_s50_l32.pth").read_bytes())
    found = gate()
    assert (found.code, found.resume) == (1, "failed")
    assert "not a training checkpoint" in found.told


@pytest.mark.parametrize(
    ("script", "folder", "outcome"),
    [
        ('"%s/logs_s2" % hps.data.exp_dir', "logs_s2", "failed"),
        ('"%s/logs_s2" % hps.data.exp_dir', "logs_s2_v2", "passed"),
        ('"%s/logs_s2_%s" % (hps.data.exp_dir, hps.model.version)', "logs_s2_v2", "failed"),
        ('"%s/logs_s2_%s" % (hps.data.exp_dir, hps.model.version)', "logs_s2", "passed"),
        ("where()", "logs_s2", "failed"),
        ("where()", "logs_s2_v2", "failed"),
        ("where()", "logs_s2_v1", "passed"),
    ],
)
def test_a_named_checkout_decides_the_folder(gate, sound, put, script, folder, outcome):
    """The tree's own script says where it looks; one that does not tell makes every folder count, and that is said."""
    tree = sound.root / "tree" / "GPT_SoVITS"
    tree.mkdir(parents=True)
    (tree / "s2_train.py").write_text(f"latest({script}, 'D_*.pth')\n", "utf-8")
    config = sound.root / "gate.toml"
    config.write_text(
        '[subject]\nversion = "v2"\ncheckout = "tree"\npretrained_s2G = "s2G2333k.pth"\nfreeze_quantizer = true\n'
        '[data]\nexp_dir = "logs/demo"\n',
        "utf-8",
    )
    put(f"{folder}/G_900.pth", drifted=True)
    found = gate(config)
    assert found.resume == outcome
    assert found.code == (outcome == "failed")
    unknown = script == "where()"
    assert ("could not decide which folder" in found.told) == unknown
    assert ("all were looked at: logs_s2, logs_s2_v2" in found.told) == unknown
    if not unknown:
        assert found.elsewhere == ("failed" if outcome == "passed" else "passed")


def test_without_assertions_a_missing_experiment_is_never_green(sound):
    """`python -O` gives the same answer: nothing was looked at, so nothing is said of it."""
    sound.write(data__exp_dir=str(sound.root / "typo"))
    command = [sys.executable, "-O", "-m", "vqcheck", "gate", str(sound.config), "--only", "resume", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False, timeout=120)
    (resume,) = [check for check in json.loads(done.stdout)["checks"] if check["code"] == "resume"]
    assert (done.returncode, resume["outcome"]) == (2, "could not check")


@pytest.mark.parametrize(
    "rename",
    [lambda name: f"net_g.{name}", lambda name: f"module.{name}", lambda name: name.replace(".vq.", "._orig_mod.vq.")],
    ids=["prefix", "DataParallel", "compiled quantizer"],
)
def test_names_that_training_does_not_read_close_the_gate(rename, gate, sound, put):
    """Upstream loads by bare names and keeps its random values for what it does not find, however right the file is."""
    put("logs_s2_v2/G_900.pth")
    assert gate().code == 0
    path = sound.folder / "logs_s2_v2" / "G_900.pth"
    content = torch.load(path, weights_only=True)
    torch.save({**content, "model": {rename(name): value for name, value in content["model"].items()}}, path)
    found = gate()
    assert (found.code, found.resume) == (1, "failed")
    assert "the name by which training looks for it" in found.told


def test_a_rounding_is_not_called_the_same(gate, sound, put):
    """A training file whose values are the base's in bfloat16 is told as what it is."""
    put("logs_s2_v2/G_900.pth")
    assert "which has the same VQ encoder" in gate().told
    path = sound.folder / "logs_s2_v2" / "G_900.pth"
    content = torch.load(path, weights_only=True)
    narrow = {name: value.bfloat16().float() for name, value in content["model"].items()}
    assert any(not torch.equal(value, content["model"][name]) for name, value in narrow.items())
    torch.save({**content, "model": narrow}, path)
    assert "which has a rounding of the VQ encoder" in gate().told
