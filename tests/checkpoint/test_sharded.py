"""A sharded checkpoint is read through its index, which may name files in its own folder and nowhere else."""

import json

import pytest
import torch
from safetensors.torch import save_file

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.errors import CheckpointError

STATE = {"a": torch.randn(3), "b": torch.randn(2, 2).half(), "c": torch.arange(4)}


def write(folder, weight_map, name="model.json", encoding="utf-8"):
    path = folder / name
    path.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}), encoding)
    return path


def shards(folder, save):
    save({"a": STATE["a"], "unlisted": torch.ones(1)}, folder / "1-of-2")
    save({"b": STATE["b"], "c": STATE["c"]}, folder / "2-of-2")
    return {"a": "1-of-2", "b": "2-of-2", "c": "2-of-2"}


@pytest.mark.parametrize("save", [save_file, torch.save])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_sharded_checkpoint_is_read_as_if_it_were_whole(save, encoding, tmp_path, read_all, torch_bytes):
    index = write(tmp_path, shards(tmp_path, save), encoding=encoding)
    assert {name: found[2] for name, found in read_all(index).items()} == {n: torch_bytes(t) for n, t in STATE.items()}
    with open_checkpoint(index) as checkpoint:
        assert (checkpoint.format, len(checkpoint.files)) == ("sharded", 3)


def test_a_shard_that_is_replaced_while_it_is_open_is_refused(tmp_path):
    index = write(tmp_path, shards(tmp_path, save_file))
    with pytest.raises(CheckpointError, match="2-of-2: was written or replaced"), open_checkpoint(index):
        save_file({"b": torch.ones(9)}, tmp_path / "2-of-2")


@pytest.mark.parametrize(
    "shard",
    [
        "../1-of-2",
        "/etc/passwd",
        "sub/1-of-2",
        "C:1-of-2",
        "..\\1-of-2",
        "C:\\1",
        "",
        ".",
        "..",
        "a\0",
        5,
        None,
        ["1-of-2"],
    ],
)
def test_an_index_that_leads_out_of_its_folder_is_refused(shard, tmp_path):
    weight_map = shards(tmp_path, save_file) | {"a": shard}
    with pytest.raises(CheckpointError, match="a: its shard must be a file in the index's own folder"):
        open_checkpoint(write(tmp_path, weight_map))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{}", "is JSON, but no index of a sharded checkpoint"),
        ('{"weight_map": {}}', "is JSON, but no index"),
        ('{"weight_map": ["a"]}', "is JSON, but no index"),
        ('{"weight_map": {"a": "x", "a": "y"}}', "a key is repeated"),
        ('{"weight_map": {"a": "x"}', "is not valid JSON"),
        ('{"a": ' * 100_000, "is nested too deeply"),
        (json.dumps({"weight_map": {str(n): str(n) for n in range(1001)}}), "names 1001 shards, more than the 1000"),
        (json.dumps({"weight_map": {str(n): "x" for n in range(200_001)}}), "too many entries"),
        ('{"weight_map": [' + "[]," * 1_000_001 + "0]}", "more values than the index of any checkpoint"),
        ('{"weight_map": [' + "0," * 2_000_001 + "0]}", "more values than the index of any checkpoint"),
        (" " + '{"weight_map": {"a": "x"}}', "checkpoint"),
        ('{"x": "' + " " * (16 << 20) + '"}', "too long for the index of a sharded checkpoint"),
    ],
)
def test_json_that_is_no_index_is_refused_with_the_reason(text, reason, put):
    with pytest.raises(CheckpointError, match=reason):
        open_checkpoint(put(text.encode(), "model.json"))


def test_a_shard_that_lacks_a_tensor_or_is_missing_is_named(tmp_path):
    weight_map = shards(tmp_path, save_file)
    with pytest.raises(CheckpointError, match=r"model\.json: d\\n: is not in 1-of-2, where the index says it is"):
        open_checkpoint(write(tmp_path, weight_map | {"d\n": "1-of-2"}))
    with pytest.raises(CheckpointError, match="3-of-2: no such file"):
        open_checkpoint(write(tmp_path, weight_map | {"d": "3-of-2"}))


def test_an_index_that_names_itself_or_another_index_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"self\.json: is the index of a sharded checkpoint, where a shard"):
        open_checkpoint(write(tmp_path, {"a": "self.json"}, "self.json"))
    write(tmp_path, {"a": "two.json"}, "one.json")
    with pytest.raises(CheckpointError, match=r"one\.json: is the index of a sharded checkpoint"):
        open_checkpoint(write(tmp_path, {"a": "one.json"}, "two.json"))
