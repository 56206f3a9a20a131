"""Tokens that a device derives: upstream's equations in half precision, beside a verdict that they do not change."""

import pytest
import torch
from torch.nn import functional

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.cli.main import main
from vqcheck.codebook.tokenizer import read_tokenizer
from vqcheck.experiment.features import BatchReader, FeatureFolder
from vqcheck.experiment.name2semantic import HEADER, MERGED, TokenRow
from vqcheck.replay import device_tokens
from vqcheck.replay.device_tokens import HalfOnDevice, derive_on_device

CODEBOOK = "quantizer.vq.layers.0._codebook"
LENGTHS = (40, 1, 95, 0, 64, 31)


def upstream(state, ssl):
    """Return the tokens of one recording as upstream's extraction writes its equations, in the type of its inputs."""
    weight, bias, embed = (state[name].to(ssl) for name in ("ssl_proj.weight", "ssl_proj.bias", f"{CODEBOOK}.embed"))
    x = functional.conv1d(ssl, weight, bias, stride=2).transpose(1, 2).reshape(-1, len(bias))
    e = embed.t()
    distance = -(x.pow(2).sum(1, keepdim=True) - 2 * x @ e + e.pow(2).sum(0, keepdim=True))
    return distance.max(dim=-1).indices.tolist()


@pytest.fixture
def experiment(tmp_path, save, vq_state):
    """Returns (folder, checkpoint, state dict, item -> features); the tokens are float32's."""
    folder = tmp_path / "me"
    (folder / "4-cnhubert").mkdir(parents=True)
    state = {name: tensor.half().float() for name, tensor in vq_state(codes=64, dim=16).items()}
    # Codes so near each other that half precision often takes another one than float32.
    embed = state[f"{CODEBOOK}.embed"]
    embed[32:] = (embed[:32] * 1.002).half().float()
    draw = torch.Generator().manual_seed(4)
    recordings, lines = {}, [HEADER]
    for number, length in enumerate(LENGTHS):
        features = torch.randn(1, 2 * length + 1, 16, generator=draw).half().transpose(1, 2)
        recordings[f"{number}.wav"] = features
        torch.save(features, folder / "4-cnhubert" / f"{number}.wav.pt")
        if length:
            lines.append(f"{number}.wav\t{' '.join(map(str, upstream(state, features.float())))}")
    (folder / MERGED).write_text("\n".join(lines) + "\n")
    return folder, save(state, "base.pth"), state, recordings


@pytest.mark.parametrize("at_once", [7, 95, 10_000])
def test_every_frame_gets_the_token_of_upstreams_equations(experiment, monkeypatch, at_once):
    """However many frames the device is given at a time, and whatever recordings they are of."""
    monkeypatch.setattr(device_tokens, "FRAMES", at_once)
    folder, base, state, recordings = experiment
    with open_checkpoint(base) as checkpoint:
        encoder = HalfOnDevice(read_tokenizer(checkpoint), torch.device("cpu"))
    names = [*recordings, "missing"]
    reader = BatchReader(FeatureFolder(str(folder)).read_frames, encoder.channels, encoder.taps)
    found = {name: [] for name in names}
    for number, tokens in encoder.of_rows([TokenRow(name, (), "") for name in names], reader):
        assert len(tokens) <= at_once
        found[names[number]] += tokens.tolist()
    expected = {name: upstream(state, features) for name, features in recordings.items() if features.shape[2] > 1}
    assert found == {"3.wav": [], "missing": []} | expected
    assert any(expected[name] != upstream(state, recordings[name].float()) for name in expected)


def test_a_device_that_the_emulation_describes_agrees(experiment):
    """Its frames are counted, those in which it gives the recorded token, and its own tokens are explained."""
    folder, base, state, recordings = experiment
    with open_checkpoint(base) as checkpoint:
        found = derive_on_device(checkpoint, str(folder), "cpu")
    pairs = [
        (a, b)
        for features in recordings.values()
        if features.shape[2] > 1
        for a, b in zip(upstream(state, features), upstream(state, features.float()), strict=True)
    ]
    assert (found.frames, found.as_recorded) == (sum(LENGTHS), sum(a == b for a, b in pairs))
    assert found.as_recorded < found.frames
    assert found.agrees
    assert found.audit.total.frames == sum(LENGTHS)


@pytest.mark.filterwarnings("error::UserWarning")
def test_torch_warns_of_nothing(experiment, save):
    """Values of a float16 file may not be written to once they are read, and torch says so of arrays that it shares."""
    folder, _, state, _ = experiment
    base = save({name: tensor.half() for name, tensor in state.items()}, "half.pth")
    always = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        with open_checkpoint(base) as checkpoint:
            assert derive_on_device(checkpoint, str(folder), "cpu").agrees
    finally:
        torch.set_warn_always(always)


def test_a_device_that_disagrees_is_told_and_changes_no_verdict(experiment, monkeypatch, capsys, valid):
    """The verdict is the emulation's on every machine; what it does not explain is a warning, and in the document."""
    folder, base, *_ = experiment
    arguments = ["tokens", str(base), str(folder)]
    plain = main(arguments), capsys.readouterr().out.splitlines()[0]
    derive = HalfOnDevice.tokens
    monkeypatch.setattr(HalfOnDevice, "tokens", lambda self, patches: (derive(self, patches) + 5) % 64)
    status = main([*arguments, "--device", "cpu"])
    said = capsys.readouterr().out
    assert status == plain[0]
    assert plain[1] in said
    assert "derives tokens in half precision that the emulation does not explain" in " ".join(said.split())
    assert main([*arguments, "--device", "cpu", "--format", "json"]) == plain[0]
    document = valid(capsys.readouterr().out)["device"]
    assert (document["agrees"], document["contradictions"][0]) == (False, "mismatches")


def test_a_device_that_agrees_is_one_line(experiment, capsys, valid):
    """It is among what was compared, and JSON has null where no device was asked."""
    folder, base, *_ = experiment
    assert main(["tokens", str(base), str(folder), "--device", "cpu", "--format", "json"]) == 0
    document = valid(capsys.readouterr().out)["device"]
    assert (document["agrees"], document["frames"]) == (True, sum(LENGTHS))
    assert main(["tokens", str(base), str(folder), "--format", "json"]) == 0
    assert valid(capsys.readouterr().out)["device"] is None


def test_a_device_that_is_not_there_is_status_2(experiment, capsys):
    """One line says what this machine has."""
    folder, base, *_ = experiment
    assert main(["tokens", str(base), str(folder), "--device", "cuda:99"]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert "CUDA devices" in said.err


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_agrees_with_the_emulation(experiment):
    """Its own sums and choices among ties are within what the emulation allows for."""
    folder, base, *_ = experiment
    with open_checkpoint(base) as checkpoint:
        found = derive_on_device(checkpoint, str(folder), "cuda")
    assert found.frames == sum(LENGTHS)
    assert found.agrees, found.audit.total
