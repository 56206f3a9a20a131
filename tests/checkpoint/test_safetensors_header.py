"""A safetensors header is believed only where its numbers, its names and the file agree."""

import json

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file, save_model

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.errors import CheckpointError


def entry(begin, end, shape=None, dtype="U8"):
    return {"dtype": dtype, "shape": [end - begin] if shape is None else shape, "data_offsets": [begin, end]}


def test_a_file_made_by_hand_is_read_so_that_the_refusals_below_mean_what_they_say(put, safetensors_bytes, read_all):
    data = safetensors_bytes({"a": entry(0, 2), "b": entry(2, 5), "none": entry(5, 5)}, b"12345")
    assert read_all(put(data)) == {
        "a": ("uint8", (2,), b"12"),
        "b": ("uint8", (3,), b"345"),
        "none": ("uint8", (0,), b""),
    }


def test_metadata_is_information_and_no_tensor(tmp_path):
    save_file({"t": torch.ones(1)}, tmp_path / "a.safetensors", metadata={"epoch": "3", "format": "pt"})
    with open_checkpoint(tmp_path / "a.safetensors") as checkpoint:
        assert list(checkpoint.tensors) == ["t"]
        assert checkpoint.information == {"epoch": "3", "format": "pt"}


def test_names_that_the_library_removed_as_aliases_are_restored(tmp_path, read_all):
    model = torch.nn.ModuleDict({"kept": torch.nn.Linear(2, 2, bias=False), "tied": torch.nn.Linear(2, 2, bias=False)})
    model["tied"].weight = model["kept"].weight
    save_model(model, str(tmp_path / "a.safetensors"))
    with safe_open(tmp_path / "a.safetensors", "pt") as written:
        assert len(written.keys()) == 1
    found = read_all(tmp_path / "a.safetensors")
    assert sorted(found) == ["kept.weight", "tied.weight"]
    assert found["kept.weight"] == found["tied.weight"]


def test_an_alias_never_replaces_a_stored_tensor(put, safetensors_bytes, read_all):
    header = {"a": entry(0, 1), "b": entry(1, 2), "__metadata__": {"b": "a", "c": "absent"}}
    assert {name: found[2] for name, found in read_all(put(safetensors_bytes(header, b"12"))).items()} == {
        "a": b"1",
        "b": b"2",
    }


@pytest.mark.parametrize("padding", range(130))
def test_a_header_of_any_length_is_recognised(padding, put, safetensors_bytes, read_all):
    # A length of 123 begins with the byte of a brace, as JSON does.
    text = json.dumps({"a": entry(0, 1)}).encode()
    assert read_all(put(safetensors_bytes(text + b" " * padding, b"1"))) == {"a": ("uint8", (1,), b"1")}


@pytest.mark.parametrize(
    ("header", "data", "reason"),
    [
        ({"a": entry(0, 3)}, b"12", r"a: lies outside the file \(truncated\?\)"),
        ({"a": entry(0, 1 << 61)}, b"12", "a: lies outside the file"),
        ({"a": entry(2, 1, [1])}, b"12", "a: lies outside the file"),
        ({"a": entry(0, 2)}, b"123", "1 bytes at its end belong to no tensor"),
        ({}, b"1", "1 bytes at its end belong to no tensor"),
        ({"a": entry(1, 2)}, b"12", "a: does not begin where the tensor before it ends"),
        ({"a": entry(0, 2), "b": entry(1, 3)}, b"123", "b: overlaps another tensor"),
        ({"a": entry(0, 2), "b": entry(0, 2)}, b"12", "overlaps another tensor"),
        ({"a": entry(0, 2, [3])}, b"12", "a: its shape and its 2 bytes disagree"),
        ({"a": entry(0, 2, [1 << 61, 1 << 61])}, b"12", "a: its shape and its 2 bytes disagree"),
        ({"a": entry(0, 2, [-2])}, b"12", "a: its header entry is damaged"),
        ({"a": entry(0, 2, [2.0])}, b"12", "a: its header entry is damaged"),
        ({"a": entry(0, 2, [True, 2])}, b"12", "a: its header entry is damaged"),
        ({"a": entry(0, 2, [1 << 62])}, b"12", "a: its header entry is damaged"),
        ({"a": entry(0, 2, [1] * 65)}, b"12", "a: its header entry is damaged"),
        ({"a": entry(0, 2, "2")}, b"12", "a: its header entry is damaged"),
        ({"a": entry(0, 2, None, 5)}, b"12", "a: its header entry is damaged"),
        ({"a": entry(0, 2, None, "U" * 21)}, b"12", "a: its header entry is damaged"),
        ({"a": {"dtype": "U8", "shape": [2]}}, b"12", "a: its header entry is damaged"),
        ({"a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 1, 2]}}, b"12", "a: its header entry is damaged"),
        ({"a": [1]}, b"12", "a: its header entry is damaged"),
        ({"a\n\x1b": None}, b"", r"a\\n\\x1b: its header entry is damaged"),
        ({"__metadata__": {"a": 1}}, b"", "header: its metadata is not text"),
        ({"__metadata__": [1]}, b"", "header: its metadata is not text"),
        (b'{"a":1,"a":2}', b"", r"header: is not valid JSON \(a key is repeated\)"),
        (b'{"a":{"dtype":"U8","dtype":"I8","shape":[0],"data_offsets":[0,0]}}', b"", "a key is repeated"),
        (b'{"a":', b"", "header: is not valid JSON"),
        (b'{"a":' + b"[" * 100_000, b"", "header: is nested too deeply"),
        ('{"ä":1}'.encode("utf-16-le"), b"", "header: is not valid JSON"),
        (b'{"a":"\xff"}', b"", "header: is not valid JSON"),
        (b'{"a":' + b"9" * 5000 + b"}", b"", "header: is not valid JSON"),
    ],
)
def test_a_header_that_does_not_fit_is_refused_with_the_reason(header, data, reason, put, safetensors_bytes):
    with pytest.raises(CheckpointError, match=reason) as caught:
        open_checkpoint(put(safetensors_bytes(header, data)))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("length", "reason"),
    [
        (1_000, r"header: claims 1000 bytes, more than the file has \(truncated\?\)"),
        ((1 << 48) - 1, "header: claims 281474976710655 bytes, more than the file has"),
        (1, "header: is not valid JSON"),
    ],
)
def test_a_header_length_that_lies_is_refused(length, reason, put, safetensors_bytes):
    with pytest.raises(CheckpointError, match=reason):
        open_checkpoint(put(safetensors_bytes({"a": entry(0, 2)}, b"12", length=length)))


def test_a_header_longer_than_any_checkpoints_is_refused(put, safetensors_bytes):
    long = b"{" + b" " * (16 << 20) + b"}"
    with pytest.raises(CheckpointError, match="header: 16777218 bytes, more than the 16777216 that are read"):
        open_checkpoint(put(safetensors_bytes(long)))


def test_a_file_cut_anywhere_is_refused(put, safetensors_bytes):
    data = safetensors_bytes({"a": entry(0, 2), "b": entry(2, 5)}, b"12345")
    for cut in range(len(data)):
        with pytest.raises(CheckpointError, match=r"file\.pth: "):
            open_checkpoint(put(data[:cut]))


def test_what_the_library_refuses_is_refused_here_too(put, safetensors_bytes):
    for header, data in (({"a": entry(0, 2)}, b"123"), ({"a": entry(1, 2)}, b"12"), ({"a": entry(0, 3)}, b"12")):
        path = put(safetensors_bytes(header, data))
        with pytest.raises(SafetensorError), safe_open(path, "pt"):
            pass
        with pytest.raises(CheckpointError):
            open_checkpoint(path)


def test_an_unknown_element_type_is_refused_by_name_and_only_when_it_is_read(put, safetensors_bytes):
    # One that this reader spells differently is as unknown as any other.
    for name in ("F4", "float32", "x\x1b"):
        header = {"good": entry(0, 1), "odd": entry(1, 5, [1], name)}
        with open_checkpoint(put(safetensors_bytes(header, b"12345"))) as checkpoint:
            assert checkpoint.read(checkpoint.tensors["good"]) == b"1"
            with pytest.raises(CheckpointError, match=r"odd: element type .* is not supported") as caught:
                checkpoint.read(checkpoint.tensors["odd"])
            assert str(caught.value).isprintable()
