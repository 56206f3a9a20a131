"""A folder as a model hub hands it out is opened as the one checkpoint it holds."""

import json
import re

import pytest
import torch
from safetensors.torch import save_file
from transformers import EncodecConfig, EncodecModel

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.errors import CheckpointError


@pytest.fixture
def sharded(state_of, tmp_path):
    """A hub folder with Mimi in two shards, an index, a config, and a readme."""
    folder = tmp_path / "mimi"
    folder.mkdir()
    state = state_of("hf_mimi")
    names = sorted(state)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for shard, held in shards.items():
        save_file({name: state[name] for name in held}, folder / shard)
    weight_map = {name: shard for shard, held in shards.items() for name in held}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (folder / "config.json").write_text("{}")
    (folder / "README.md").write_text("model card")
    return folder, state


def test_a_sharded_hub_folder_is_one_checkpoint(sharded, saved, vqcheck, valid):
    """The folder inspects and compares as the whole model: as the same state in one file, and changed when it is."""
    folder, state = sharded
    run = vqcheck("inspect", folder)
    assert run.returncode == 0
    assert "Mimi" in run.stdout
    assert re.search(r"[Ff]ormat +sharded", run.stdout)
    assert vqcheck("diff", folder, saved(state)).returncode == 0
    name = "quantizer.acoustic_residual_vector_quantizer.layers.1.codebook.embed_sum"
    assert vqcheck("diff", folder, saved({**state, name: state[name] + 1})).returncode == 1
    document = valid(vqcheck("inspect", folder, "--format", "json").stdout)
    assert [file["path"].endswith("model.safetensors.index.json") for file in document["files"]] == [True]


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "codec.pth"])
def test_a_folder_with_one_whole_file(name, state_of, tmp_path, vqcheck):
    """Whatever its kind, the only checkpoint of a folder is taken."""
    state = state_of("hf_dac")
    save_file(state, tmp_path / name) if name.endswith("safetensors") else torch.save(state, tmp_path / name)
    (tmp_path / "config.json").write_text("{}")
    run = vqcheck("diff", tmp_path, tmp_path / name)
    assert (run.returncode, run.stderr) == (0, "")


def test_safetensors_is_taken_before_the_same_model_as_bin(state_of, tmp_path, vqcheck):
    """Hubs hold one model in several kinds of file; one of them is read."""
    save_file(state_of("hf_dac"), tmp_path / "model.safetensors")
    torch.save(state_of("hf_dac", 1), tmp_path / "pytorch_model.bin")
    torch.save({}, tmp_path / "training_args.bin")
    assert vqcheck("diff", tmp_path, tmp_path / "model.safetensors").returncode == 0
    assert vqcheck("diff", tmp_path, tmp_path / "pytorch_model.bin").returncode == 1


def encodec(seed):
    torch.manual_seed(seed)
    config = EncodecConfig(
        hidden_size=8, num_filters=2, codebook_dim=8, codebook_size=16, num_lstm_layers=1, target_bandwidths=[1.5]
    )
    model = EncodecModel(config)
    for name, buffer in model.named_buffers():
        if name.endswith(".embed"):
            buffer.copy_(torch.randn(buffer.shape))
    return model


@pytest.mark.parametrize(
    "names",
    [
        ("model.safetensors", "pytorch_model.bin"),
        ("model.safetensors.index.json", "pytorch_model.bin"),
        ("model.safetensors.index.json", "model.safetensors"),
        ("other.safetensors", "pytorch_model.bin"),
        ("model-ema.safetensors", "pytorch_model.bin"),
        ("other.safetensors.index.json", "pytorch_model.bin"),
        ("model.safetensors", "pytorch_model.ema.bin"),
    ],
)
def test_both_forms_in_one_folder_are_what_the_library_loads_or_one_must_be_named(names, tmp_path):
    """Two models under the names that transformers writes and reads, and under others."""
    for seed, name in enumerate(names):
        model = encodec(seed)
        if name.endswith(".bin"):
            torch.save(model.state_dict(), tmp_path / name)
        else:
            made = tmp_path / f"made{seed}"
            model.save_pretrained(made, max_shard_size="5KB" if name.endswith(".json") else "1GB")
            for path in made.iterdir():
                path.rename(tmp_path / path.name.replace("model.safetensors", name.removesuffix(".index.json")))
            made.rmdir()
    codes = "quantizer.layers.0.codebook.embed"
    loaded = EncodecModel.from_pretrained(tmp_path).state_dict()[codes]
    read = refused = None
    try:
        with open_checkpoint(tmp_path) as checkpoint:
            read = checkpoint.read(checkpoint.tensors[codes])
    except CheckpointError as error:
        refused = str(error)
    if names in (("model.safetensors", "pytorch_model.bin"), ("model.safetensors.index.json", "pytorch_model.bin")):
        assert read == loaded.numpy().tobytes()
    else:
        assert "holds several checkpoints, name one" in (refused or "")


def test_the_shards_of_an_index_are_no_models_of_their_own_whatever_they_are_called(sharded, vqcheck):
    folder, _ = sharded
    index = folder / "model.safetensors.index.json"
    values = json.loads(index.read_text())
    for number, shard in enumerate(sorted(set(values["weight_map"].values()))):
        (folder / shard).rename(folder / f"part{number}.safetensors")
        values["weight_map"] = {
            name: f"part{number}.safetensors" if held == shard else held for name, held in values["weight_map"].items()
        }
    index.write_text(json.dumps(values))
    assert vqcheck("inspect", folder).returncode == 0
    (folder / "another.safetensors").write_bytes((folder / "part0.safetensors").read_bytes())
    assert "another.safetensors" in vqcheck("diff", folder, folder).stderr


def test_a_folder_of_several_models_asks_which(state_of, tmp_path, vqcheck):
    """`diff` wants one named, `inspect` describes them all."""
    for name in ("a.safetensors", "b.safetensors"):
        save_file(state_of("hf_dac"), tmp_path / name)
    run = vqcheck("diff", tmp_path, tmp_path / "a.safetensors")
    assert run.returncode == 2
    assert "holds several checkpoints, name one: a.safetensors, b.safetensors" in run.stderr
    run = vqcheck("inspect", tmp_path)
    assert run.returncode == 0
    assert run.stdout.count("DAC") == 2


def test_a_folder_without_checkpoints_says_where_they_are(state_of, tmp_path, vqcheck):
    """A pipeline's folder holds models in folders of their own, which the message names."""
    (tmp_path / "vqvae").mkdir()
    save_file(state_of("diffusers_vqmodel"), tmp_path / "vqvae" / "diffusion_pytorch_model.safetensors")
    for command in (["inspect", tmp_path], ["diff", tmp_path, tmp_path]):
        run = vqcheck(*command)
        assert run.returncode == 2
        assert "these folders in it hold checkpoints: vqvae" in run.stderr
    assert vqcheck("inspect", tmp_path / "vqvae").returncode == 0
