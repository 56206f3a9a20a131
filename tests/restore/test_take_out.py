"""An extracted VQ encoder: the real library reads its values, and vqcheck finds the same one in it."""

import json
import os

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.cli.main import main
from vqcheck.codebook.compare import compare
from vqcheck.codebook.match import search
from vqcheck.errors import VqcheckError
from vqcheck.restore.take_out import take_out

BOOK = "quantizer.vq.layers.0._codebook"


def extract(path, out, copy=""):
    with open_checkpoint(path) as file:
        return take_out(file, os.fspath(out), copy)


def verdict(a, b):
    with open_checkpoint(a) as one, open_checkpoint(b) as other:
        return str(compare(one, other).verdict)


@pytest.fixture
def base(save, vq_state):
    """A file with more than its VQ encoder, and the state of that."""
    state = vq_state(seed=1)
    state[f"{BOOK}.embed"] = state[f"{BOOK}.embed"].T.contiguous().T
    return save({**state, "enc_p.text_embedding.weight": torch.rand(322, 2)}, "base.pth"), state


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_the_library_reads_what_the_checkpoint_has(tmp_path, save, vq_state, dtype):
    """Names, types and values, and nothing else; the metadata say what each is."""
    state = {name: tensor.to(dtype) for name, tensor in vq_state(seed=1).items()}
    path = save({f"module.{name}": tensor for name, tensor in {**state, "enc_p.x": torch.rand(3)}.items()})
    result = extract(path, tmp_path / "vq.safetensors")
    found = load_file(tmp_path / "vq.safetensors")
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], tensor) and found[name].dtype == dtype for name, tensor in state.items())
    with safe_open(tmp_path / "vq.safetensors", "pt") as file:
        metadata = file.metadata()
    assert metadata["family"] == "gpt-sovits"
    assert metadata[f"role.{BOOK}.embed"] == "codes"
    assert metadata["digest.vq_encoder"] == str(result.digests.vq_encoder)


def test_it_is_the_same_encoder_to_compare(tmp_path, base):
    path, _ = base
    extract(path, tmp_path / "vq.safetensors")
    assert verdict(path, tmp_path / "vq.safetensors") == "identical"


def test_a_projection_that_layers_share_is_written_once(tmp_path, save):
    """The library reads it under its first name, and every layer has it."""
    shared = torch.rand(4, 8, 1)
    state = {f"quantizer.quantizers.{layer}.codebook.weight": torch.rand(16, 4) for layer in range(3)}
    state |= {f"quantizer.quantizers.{layer}.in_proj.weight": shared for layer in range(3)}
    state |= {f"quantizer.quantizers.{layer}.in_proj.bias": torch.rand(4) for layer in range(3)}
    path, out = save(state, "dac.pth"), tmp_path / "vq.safetensors"
    extract(path, out)
    found = load_file(out)
    assert len(found) == 7
    assert all(torch.equal(tensor, state[name]) for name, tensor in found.items())
    assert verdict(path, out) == "identical"


def test_a_lora_export_has_none_of_its_own(checkpoints, tmp_path):
    """Its codebook alone is another codec's to every reader, and says nothing of the projection."""
    out = tmp_path / "vq.safetensors"
    with pytest.raises(VqcheckError, match=r"LoRA export without the projection .* extract the VQ encoder of"):
        extract(checkpoints / "lora_v3_e2_s50_l32.pth", out)
    assert not out.exists()


def test_what_would_be_read_as_another_codec_is_refused(tmp_path, monkeypatch, base):
    path, _ = base
    with open_checkpoint(path) as file:
        named = search({name: tensor.shape for name, tensor in file.tensors.items() if "_codebook" in name})
    monkeypatch.setattr("vqcheck.restore.take_out.search", lambda _shapes: named)
    with pytest.raises(VqcheckError, match=r"\(gpt-sovits\) would be read as encodec without the rest of the file"):
        extract(path, tmp_path / "vq.safetensors")


def test_diff_lock_and_restore_take_it(tmp_path, base, save, vq_state, capsys):
    """As the base of each."""
    path, state = base
    vq, lock, out = (str(tmp_path / name) for name in ("vq.safetensors", "vqcheck.lock", "out.pth"))
    drifted = save({**vq_state(seed=2), "enc_p.x": torch.rand(3)}, "drifted.pth")
    assert main(["extract", str(path), "-o", vq]) == 0
    assert main(["diff", vq, str(path)]) == 0
    assert main(["diff", vq, str(drifted)]) == 1
    assert main(["lock", vq, "-o", lock]) == 0
    assert main(["lock", "--check", str(path), "-o", lock]) == 0
    assert main(["restore", vq, str(drifted), "-o", out]) == 0
    capsys.readouterr()
    found = torch.load(out, weights_only=True)["weight"]
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())


def test_one_that_was_extracted_is_not_restored_itself(tmp_path, base, save, vq_state):
    """Its header has digests, which would be those of other values."""
    path, _ = base
    extract(save(vq_state(seed=2), "drifted.pth"), tmp_path / "vq.safetensors")
    assert main(["restore", str(path), str(tmp_path / "vq.safetensors"), "-o", str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("layers", [2, 12])
def test_layers_that_share_a_codebook_still_do(tmp_path, layers):
    """The digest says which layers share one, so they must in the extracted file, too."""
    generator = torch.Generator().manual_seed(0)
    codes, sums = (torch.randn(16, 8, generator=generator) for _ in range(2))
    state = {}
    for layer in range(layers):
        state |= {
            f"quantizer.vq.layers.{layer}._codebook.embed": codes,
            f"quantizer.vq.layers.{layer}._codebook.embed_avg": sums,
        }
    torch.save(state, tmp_path / "tied.pth")
    extract(tmp_path / "tied.pth", tmp_path / "vq.safetensors")
    assert verdict(tmp_path / "tied.pth", tmp_path / "vq.safetensors") == "identical"


def test_tensors_keep_the_order_of_their_axes(tmp_path):
    """VQ-VAE 2 stores its codes as columns: what is written has the shape that its readers expect."""
    generator = torch.Generator().manual_seed(0)
    state = {
        "quantize_t.embed": torch.randn(8, 32, generator=generator),
        "quantize_t.embed_avg": torch.randn(8, 32, generator=generator),
        "quantize_t.cluster_size": torch.rand(32, generator=generator),
        "quantize_conv_t.weight": torch.randn(8, 4, 1, 1, generator=generator),
        "quantize_conv_t.bias": torch.randn(8, generator=generator),
    }
    torch.save(state, tmp_path / "a.pth")
    extract(tmp_path / "a.pth", tmp_path / "vq.safetensors")
    found = load_file(tmp_path / "vq.safetensors")
    assert {tuple(tensor.shape) for tensor in found.values()} == {(8, 32), (32,), (8, 4, 1, 1), (8,)}
    assert verdict(tmp_path / "a.pth", tmp_path / "vq.safetensors") == "identical"


def test_several_copies_want_a_name(tmp_path, vq_state):
    a, b = vq_state(seed=1), vq_state(seed=2)
    torch.save({"model": a, "ema": b}, tmp_path / "file.pth")
    with pytest.raises(VqcheckError, match="--copy"):
        extract(tmp_path / "file.pth", tmp_path / "vq.safetensors")
    assert not (tmp_path / "vq.safetensors").exists()
    extract(tmp_path / "file.pth", tmp_path / "vq.safetensors", "ema")
    found = load_file(tmp_path / "vq.safetensors")
    assert all(torch.equal(found[name], tensor) for name, tensor in b.items())


def test_the_document_follows_its_schema(tmp_path, base, valid, capsys):
    path, _ = base
    assert main(["extract", str(path), "-o", str(tmp_path / "vq.safetensors"), "--format", "json"]) == 0
    document = valid(capsys.readouterr().out)
    assert {tensor["name"] for tensor in document["tensors"]} == load_file(tmp_path / "vq.safetensors").keys()
    assert main(["extract", str(path), "-o", str(path), "--format", "json"]) == 2
    assert json.loads(capsys.readouterr().out)["exit_code"] == 2
    assert torch.load(path, weights_only=True)
