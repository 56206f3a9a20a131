"""The committed fixtures are what their scripts describe, on whatever processor that is asked.

The committed bytes are the truth. What the scripts draw and train comes out with other last places on other
processors, so that is held to tolerances and laws; what no arithmetic touches is held to the byte.
"""

import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from warm import ROOT, can_fork

from vqcheck import open_checkpoint
from vqcheck.cli.main import main

SCRIPTS = ROOT / "fixtures"
BOOK = "quantizer.vq.layers.0._codebook"
MOVED = [f"{BOOK}.{name}" for name in ("cluster_size", "embed", "embed_avg")]
UNHIT = [5, 77]
STEPS, FRAMES, DECAY = 37, 2400, 0.99


@pytest.fixture(scope="module")
def made(warm, tmp_path_factory):
    """Runs a script of the fixtures; returns the folder with what it made."""

    def run(script):
        folder = tmp_path_factory.mktemp("made") / script.removeprefix("make_")
        if can_fork():
            done = warm("torch").run(folder, script=SCRIPTS / f"{script}.py")
            assert done.returncode == 0, done.stderr
        else:
            subprocess.run([sys.executable, SCRIPTS / f"{script}.py", folder], check=True)
        return folder

    return run


@pytest.fixture(scope="module")
def made_checkpoints(made):
    return made("make_checkpoints")


@pytest.fixture(scope="module")
def made_demo(made):
    return made("make_demo")


def opened(path):
    """Return what a file is, and its tensors as (element type, values)."""
    with open_checkpoint(path) as checkpoint:
        tensors = {
            name: (tensor.dtype, np.frombuffer(bytes(checkpoint.read(tensor)), tensor.dtype).reshape(tensor.shape))
            for name, tensor in checkpoint.tensors.items()
        }
        return (checkpoint.format, checkpoint.header_code, checkpoint.container, checkpoint.information), tensors


def values(path):
    return {name: value for name, (_, value) in opened(path)[1].items()}


def same(one, other, names):
    return {name: one[name].astype(np.float32).tobytes() == other[name].astype(np.float32).tobytes() for name in names}


def test_the_checkpoints_are_what_their_script_makes(checkpoints, made_checkpoints):
    """The same files with the same names, types, shapes and information; what was drawn is equal but for rounding."""
    names = sorted(path.name for path in checkpoints.iterdir())
    assert names == sorted(path.name for path in made_checkpoints.iterdir())
    for name in names:
        (what, committed), (what_now, now) = opened(checkpoints / name), opened(made_checkpoints / name)
        assert what == what_now
        assert list(committed) == list(now)
        trained = MOVED if name in ("G_437.pth", "drifted_v2_e8_s400.pth") else []
        for key, (dtype, value) in committed.items():
            assert (key, dtype, value.shape) == (key, now[key][0], now[key][1].shape)
            if key not in trained:
                # one place of half precision, through which everything but the s1 checkpoints has gone
                np.testing.assert_allclose(now[key][1], value, rtol=2**-10, atol=1e-6, err_msg=f"{name} {key}")


@pytest.fixture(params=["committed", "made now"])
def folder(request, checkpoints):
    return checkpoints if request.param == "committed" else request.getfixturevalue("made_checkpoints")


def test_what_is_frozen_has_the_bits_of_the_base(folder):
    """In every element type, format and container."""
    base = values(folder / "base_v2.pth")
    encoder = [name for name in base if name.startswith(("quantizer.", "ssl_proj."))]
    assert len(encoder) == 6
    for name in ("frozen_v2_e8_s400.pth", "G_400.pth", "sovits_v2pro_e2_s100.pth", "base_v2.safetensors"):
        assert all(same(base, values(folder / name), encoder).values()), name
    book = [name for name in encoder if name.startswith(BOOK)]
    assert all(same(base, values(folder / "lora_v3_e2_s50_l32.pth"), book).values())


def test_what_drifted_is_the_frozen_one_after_37_updates(folder):
    """Nothing else moved, the counts decayed as 37 batches make them, and the export is the training file's."""
    before, after, export = (values(folder / f"{n}.pth") for n in ("G_400", "G_437", "drifted_v2_e8_s400"))
    assert {name for name, equal in same(before, after, before).items() if not equal} == set(MOVED)
    assert all((export[name] == after[name].astype(np.float16)).all() for name in export)
    size, total, codes = (after[f"{BOOK}.{name}"].astype(np.float64) for name in ("cluster_size", "embed_avg", "embed"))
    decayed = DECAY**STEPS
    first = before[f"{BOOK}.cluster_size"].astype(np.float64)
    assert size.sum() == pytest.approx(decayed * first.sum() + (1 - decayed) * FRAMES, rel=1e-5)
    for name in (f"{BOOK}.cluster_size", f"{BOOK}.embed_avg"):
        np.testing.assert_allclose(after[name][UNHIT], decayed * before[name][UNHIT], rtol=1e-5)
    hit = np.delete(size / first, UNHIT)
    assert (np.abs(hit / decayed - 1) > 1e-4).all()
    smoothed = (size + 1e-5) / (size.sum() + len(size) * 1e-5) * size.sum()
    np.testing.assert_allclose(codes, total / smoothed[:, None], rtol=1e-5, atol=1e-7)


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_demo_is_what_its_script_makes(made_demo):
    """The same files; features are equal but for rounding, which decides hardly a token."""
    committed = SCRIPTS / "demo"
    assert files(committed) == files(made_demo)
    assert (committed / "s2.json").read_bytes() == (made_demo / "s2.json").read_bytes()
    for path in (committed / "4-cnhubert").iterdir():
        one, other = (torch.load(each, weights_only=True) for each in (path, made_demo / "4-cnhubert" / path.name))
        assert (one.dtype, one.stride()) == (other.dtype, other.stride())
        torch.testing.assert_close(one, other, rtol=2**-10, atol=1e-6)
    one, other = ((folder / "6-name2semantic.tsv").read_text("utf-8").split() for folder in (committed, made_demo))
    assert len(one) == len(other) > 240
    assert sum(a != b for a, b in zip(one, other, strict=True)) <= 3


def test_the_tokens_of_the_demo_are_those_of_its_features(checkpoints):
    """The nearest code is nearer than the next by far more than single precision can mistake."""
    state = {name: value.astype(np.float64) for name, value in values(checkpoints / "base_v2.pth").items()}
    weight, codes = state["ssl_proj.weight"], state[f"{BOOK}.embed"]
    rows = (SCRIPTS / "demo" / "6-name2semantic.tsv").read_text("utf-8").splitlines()[1:]
    for row in rows:
        item, tokens = row.split("\t")
        features = torch.load(SCRIPTS / "demo" / "4-cnhubert" / f"{item}.pt", weights_only=True)[0].double().numpy()
        frames = sum(weight[:, :, tap] @ features[:, tap::2] for tap in range(2)).T + state["ssl_proj.bias"]
        distances = np.linalg.norm(frames[:, None] - codes, axis=2)
        assert distances.argmin(1).tolist() == [int(token) for token in tokens.split()]
        nearest = np.sort(distances, axis=1)
        assert (nearest[:, 1] / nearest[:, 0] - 1).min() > 1e-5
    assert len(rows) == 6


def test_the_lock_of_the_demo_is_the_one_of_its_files(checkpoints, tmp_path, monkeypatch):
    """To the byte: no arithmetic has a part in it."""
    committed = SCRIPTS / "demo"
    shutil.copytree(committed, tmp_path / "demo", ignore=shutil.ignore_patterns("*.lock"))
    monkeypatch.chdir(ROOT)
    base, s1 = (str(checkpoints / name) for name in ("base_v2.pth", "gpt-e15.ckpt"))
    assert main(["lock", base, "--experiment", str(tmp_path / "demo"), "--s1", s1, "--quiet"]) == 0
    assert (tmp_path / "demo" / "vqcheck.lock").read_bytes() == (committed / "vqcheck.lock").read_bytes()
