"""A sharded checkpoint is read through its index, which may name files in its own folder and nowhere else."""

import json
import os
import struct
import zipfile

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import EncodecConfig, EncodecModel

from vqcheck.checkpoint import sharded
from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.errors import CheckpointError

STATE = {"a": torch.randn(3), "b": torch.randn(2, 2).half(), "c": torch.arange(4)}


def write(folder, weight_map, name="model.json", encoding="utf-8"):
    path = folder / name
    path.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}), encoding)
    return path


def shards(folder, save):
    save({"a": STATE["a"]}, folder / "1-of-2")
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
        ("{}", "is JSON, but not the index of a sharded checkpoint"),
        ('{"weight_map": {}}', "is JSON, but not the index"),
        ('{"weight_map": ["a"]}', "is JSON, but not the index"),
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
    with open_checkpoint(write(tmp_path, weight_map | {"d": "3-of-2"})) as checkpoint:
        assert checkpoint.missing_files == ("3-of-2",)
        with pytest.raises(CheckpointError, match="d: lies in 3-of-2, which is missing"):
            checkpoint.read(checkpoint.tensors["d"])
    with pytest.raises(CheckpointError, match="none of the files that it names is there"):
        open_checkpoint(write(tmp_path, {"d": "3-of-2"}))


def test_an_index_that_names_itself_or_another_index_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"self\.json: is the index of a sharded checkpoint, where a shard"):
        open_checkpoint(write(tmp_path, {"a": "self.json"}, "self.json"))
    write(tmp_path, {"a": "two.json"}, "one.json")
    with pytest.raises(CheckpointError, match=r"one\.json: is the index of a sharded checkpoint"):
        open_checkpoint(write(tmp_path, {"a": "one.json"}, "two.json"))


@pytest.mark.parametrize("save", [save_file, torch.save])
@pytest.mark.parametrize("extra", [{"unlisted": torch.ones(1)}, {"a": STATE["a"] + 1}, {"a": STATE["a"]}])
def test_a_shard_with_a_tensor_that_the_index_gives_to_another_or_to_none_is_refused(extra, save, tmp_path):
    """Libraries load every tensor of every shard, the later over the earlier; readers of the index load others."""
    weight_map = shards(tmp_path, save)
    save({"b": STATE["b"], "c": STATE["c"], **extra}, tmp_path / "2-of-2")
    with pytest.raises(CheckpointError, match=r"2-of-2 holds .*, which the index (gives to 1-of-2|does not)"):
        open_checkpoint(write(tmp_path, weight_map))


@pytest.mark.parametrize(
    "inner",
    [
        {"weight": {"b": STATE["b"], "c": STATE["c"]}},
        {"b": STATE["b"], "c": STATE["c"], "weight": {"b": STATE["b"] + 1, "c": STATE["c"]}},
        {"b": STATE["b"], "c": STATE["c"], "more": {"deep": {"b": STATE["b"] + 1}}},
    ],
)
def test_a_shard_with_a_container_inside_is_refused(inner, tmp_path):
    """A library takes the shard itself for the state dict."""
    weight_map = shards(tmp_path, torch.save)
    torch.save(inner, tmp_path / "2-of-2")
    with pytest.raises(CheckpointError, match="2-of-2: keeps tensors in a container"):
        open_checkpoint(write(tmp_path, weight_map))


def test_an_alias_that_a_shard_names_is_none(tmp_path):
    """The library that loads shards knows no aliases."""
    save_file({"layers.0.embed": STATE["a"]}, tmp_path / "1-of-1", {"layers.1.embed": "layers.0.embed"})
    weight_map = {"layers.0.embed": "1-of-1"}
    with open_checkpoint(write(tmp_path, weight_map)) as checkpoint:
        assert set(checkpoint.tensors) == set(load_file(tmp_path / "1-of-1"))
    with pytest.raises(CheckpointError, match="is not in 1-of-1, where the index says it is"):
        open_checkpoint(write(tmp_path, weight_map | {"layers.1.embed": "1-of-1"}))


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_many_names_of_one_shard_are_refused_at_the_second(link, tmp_path):
    """A header of some MiB, read for each of them, would take minutes."""
    names = [f"t{number}" for number in range(900)]
    save_file({name: torch.zeros(0) for name in names}, tmp_path / "0")
    for number in range(1, 900):
        link(tmp_path / "0", tmp_path / str(number))
    with pytest.raises(CheckpointError, match=r"0 holds t\d+, which the index gives to \d+"):
        open_checkpoint(write(tmp_path, {name: str(number) for number, name in enumerate(names)}))


def test_the_indexes_of_all_shards_have_one_budget(tmp_path, monkeypatch):
    """What one file may ask for, many small ones may not ask for each."""
    monkeypatch.setattr(sharded, "_MAX_INDEXES", 100_000)
    for number in range(4):
        header = json.dumps({f"t{number}": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode()
        header += b" " * (30_000 - len(header))
        (tmp_path / str(number)).write_bytes(struct.pack("<Q", len(header)) + header + b"1")
    with open_checkpoint(write(tmp_path, {"t0": "0", "t1": "1"})) as checkpoint:
        assert set(checkpoint.tensors) == {"t0", "t1"}
    with pytest.raises(CheckpointError, match=r"model\.json: .* bytes of indexes in its shards, more than"):
        open_checkpoint(write(tmp_path, {f"t{number}": str(number) for number in range(4)}))


def test_a_shard_whose_index_is_packed_is_refused(tmp_path, zip_bytes, torch_pickle, claim):
    """A few kilobytes of it may unpack to many times the budget; no library packs it."""
    for compression, refused in ((zipfile.ZIP_STORED, False), (zipfile.ZIP_DEFLATED, True)):
        data = zip_bytes(torch_pickle({"a": claim()}), {"0": bytes(16)}, compression=compression)
        (tmp_path / "1-of-1").write_bytes(data)
        index = write(tmp_path, {"a": "1-of-1"})
        if refused:
            with pytest.raises(CheckpointError, match="1-of-1: its index is compressed"):
                open_checkpoint(index)
        else:
            open_checkpoint(index).close()


SMALL = EncodecConfig(
    hidden_size=8, num_filters=2, codebook_dim=8, codebook_size=16, num_lstm_layers=1, target_bandwidths=[1.5, 3.0]
)
BOOK = "quantizer.layers.0.codebook.embed"


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-1-of-1.bin", "1-of-1"])
def test_packed_values_are_refused_where_transformers_maps_a_file(name, tmp_path, read_all):
    """It gets the packed bytes as they lie; packed data can be made to hold other values than it unpacks to."""
    model = EncodecModel(SMALL)
    state = model.state_dict()
    SMALL.save_pretrained(tmp_path)
    torch.save(state, tmp_path / "stored")
    sharded_as = (
        None
        if name == "pytorch_model.bin"
        else write(tmp_path, dict.fromkeys(state, name), "pytorch_model.bin.index.json")
    )
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(tmp_path / "stored") as old, zipfile.ZipFile(tmp_path / name, "w") as new:
            for member in old.namelist():
                new.writestr(member, old.read(member), compression if "/data/" in member else zipfile.ZIP_STORED)
        loaded = EncodecModel.from_pretrained(tmp_path, use_safetensors=False).state_dict()
        if compression == zipfile.ZIP_STORED:
            assert torch.equal(loaded[BOOK], state[BOOK])
            assert BOOK in read_all(sharded_as or tmp_path)
        else:
            assert not torch.equal(loaded[BOOK], state[BOOK])
            for path in (tmp_path, sharded_as or tmp_path / name):
                with pytest.raises(CheckpointError, match=rf"{name}: .*: is compressed, and transformers would"):
                    open_checkpoint(path)
    (tmp_path / name).rename(tmp_path / "unmapped.pth")
    assert BOOK in read_all(tmp_path / "unmapped.pth")


@pytest.mark.skipif(os.name != "posix", reason="making links takes rights on Windows")
def test_a_link_that_leads_out_of_the_folder_is_refused_and_named(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    weight_map = shards(model, save_file)
    index = write(model, weight_map)
    os.rename(model / "2-of-2", tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", model / "2-of-2")
    with pytest.raises(CheckpointError, match=r"2-of-2: is a link that leads out of the folder, to .*elsewhere"):
        open_checkpoint(index)
    os.remove(model / "2-of-2")
    os.rename(tmp_path / "elsewhere", model / "inside")
    os.symlink("inside", model / "2-of-2")
    os.symlink(model, tmp_path / "other name")
    for path in (index, tmp_path / "other name" / "model.json"):
        open_checkpoint(path).close()


@pytest.mark.skipif(os.name != "posix", reason="making links takes rights on Windows")
@pytest.mark.parametrize("inner", ["", "codec"])
def test_the_cache_of_a_hub_is_read_through_its_links(inner, tmp_path, read_all, torch_bytes):
    """Its snapshots hold nothing but links into a folder of blobs, which are named by their digests."""
    snapshot, blobs = tmp_path / "snapshots" / "c0ffee" / inner, tmp_path / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    write(snapshot, shards(snapshot, save_file))
    for number, path in enumerate(sorted(snapshot.iterdir())):
        path.rename(blobs / str(number))
        path.symlink_to(os.path.relpath(blobs / str(number), snapshot))
    found = read_all(snapshot / "model.json")
    assert {name: each[2] for name, each in found.items()} == {n: torch_bytes(t) for n, t in STATE.items()}


def test_what_transformers_loads_from_shards_is_what_is_read(tmp_path, read_all, torch_bytes):
    """The control to the refusals above: a folder as the library writes it."""
    model = EncodecModel(SMALL)
    model.save_pretrained(tmp_path, max_shard_size="2KB")
    assert (tmp_path / "model.safetensors.index.json").exists()
    loaded = EncodecModel.from_pretrained(tmp_path).state_dict()
    found = read_all(tmp_path / "model.safetensors.index.json")
    books = [name for name in found if "codebook" in name]
    assert len(books) > 4
    assert {name: found[name][2] for name in books} == {name: torch_bytes(loaded[name]) for name in books}
