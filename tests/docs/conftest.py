"""What the README and the pages of docs/ share: their blocks, and a folder in which their commands can be typed."""

import functools
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch

from vqcheck.synthesizer import preset

sys.path.insert(0, str(Path(__file__).parent))
from documents import ROOT
from warm import HANGS, can_fork

SIZES = {
    "inter_channels": 16,
    "hidden_channels": 16,
    "filter_channels": 32,
    "n_layers": 2,
    "upsample_initial_channel": 64,
    "gin_channels": 32,
    "mrte_hidden": 32,
    "mrte_heads": 2,
    "posterior_layers": 2,
    "flow_layers": 2,
    "n_flows": 2,
    "codebook_size": 32,
}


def replayed(root):
    """Make what the replays want, small enough for seconds: an s2 JSON with its base, a checkout, a configuration."""
    torch.manual_seed(0)
    net_g = preset("v2").synthesizer(**SIZES)
    net_g.initialise_codebook(torch.randn(2, 768, 60))
    torch.save({"weight": net_g.state_dict(), "config": {}}, root / "pretrained_models" / "small_s2G.pth")
    values = {
        "train": {
            "batch_size": 2,
            "seed": 1234,
            "segment_size": 5120,
            "pretrained_s2G": "pretrained_models/small_s2G.pth",
            "pretrained_s2D": "",
        },
        "data": {"exp_dir": "fixtures/experiment"},
        "model": {**SIZES, "version": "v2", "narrowing": 16, "periods": [2]},
    }
    (root / "logs" / "me" / "tmp_s2.json").write_text(json.dumps(values), encoding="utf-8")
    shutil.copytree(ROOT / "tests" / "checkout" / "tree", root / "path" / "to" / "GPT-SoVITS")
    shutil.copy(ROOT / "tests" / "checkout" / "small.toml", root / "my_replay.toml")
    (root / "replay.toml").write_text('[subject]\nversion = "tiny"\n[replay]\nsteps = 1\n', encoding="utf-8")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A folder in which a user of GPT-SoVITS would type the commands, with the project's fixtures in it."""
    root = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "fixtures", root / "fixtures")
    checkpoints = root / "fixtures" / "checkpoints"
    (root / "pretrained_models").mkdir()
    shutil.copy(checkpoints / "base_v2.pth", root / "pretrained_models" / "s2G2333k.pth")
    shipped = root / "GPT_SoVITS" / "pretrained_models" / "gsv-v2final-pretrained"
    shipped.mkdir(parents=True)
    shutil.copy(checkpoints / "base_v2.pth", shipped / "s2G2333k.pth")
    (root / "GPT_weights_v2").mkdir()
    s1 = torch.load(checkpoints / "gpt-e15.ckpt", weights_only=True)
    s1["config"]["train_semantic_path"] = "logs/me/6-name2semantic.tsv"
    torch.save(s1, root / "GPT_weights_v2" / "me-e15.ckpt")
    experiment = root / "logs" / "me"
    shutil.copytree(root / "fixtures" / "demo", experiment, ignore=shutil.ignore_patterns("*.lock", "*.json"))
    (experiment / "logs_s2_v2").mkdir()
    for step in (400, 800):
        shutil.copy(checkpoints / "G_400.pth", experiment / "logs_s2_v2" / f"G_{step}.pth")
    (root / "configs").mkdir()
    values = {
        "train": {"batch_size": 4, "pretrained_s2G": "pretrained_models/s2G2333k.pth", "pretrained_s2D": ""},
        "data": {"exp_dir": "logs/me"},
        "model": {"version": "v2", "freeze_quantizer": True},
    }
    (root / "configs" / "s2.json").write_text(json.dumps(values), encoding="utf-8")
    replayed(root)
    return root


@pytest.fixture
def shell(warm):
    """Runs a line of the README as it stands, with the programs of this environment in reach."""
    return functools.partial(in_shell, warm)


def in_shell(warm, command, folder):
    words = shlex.split(command)
    if can_fork() and words[0] == "vqcheck" and set(command).isdisjoint("&|<>;*$`"):
        # a shell would do no more than start it
        needs = ["torch"] if words[1] == "replay" else []
        with tempfile.TemporaryFile() as said:
            code = warm(*needs).start(*words[1:], cwd=folder, stdout=said, stderr=said).wait()
            said.seek(0)
            return subprocess.CompletedProcess(command, code, said.read().decode())
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONIOENCODING": "utf-8"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=HANGS,
    )
