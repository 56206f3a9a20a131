"""A safetensors header is believed only where its numbers, its names and the file agree."""

import json

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, load_model, save_file, save_model

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


def tied(names, apart=()):
    """Returns a module that holds one tensor under all these dotted names, and tensors of their own under others."""
    root, shared = torch.nn.Module(), torch.arange(4.0)
    for name in (*names, *apart):
        module = root
        *path, leaf = name.split(".")
        for part in path:
            module.add_module(part, getattr(module, part, None) or torch.nn.Module())
            module = getattr(module, part)
        module.register_buffer(leaf, shared if name in names else torch.full((4,), -7.0))
    return root


@pytest.mark.parametrize(
    "names",
    [
        ("layers.0.embed", "layers.1.embed"),
        # As text ten comes before two, and the library keeps the name that comes first.
        ("vq.layers.10.codebook.embed", "vq.layers.2.codebook.embed", "vq.layers.3.codebook.embed"),
        ("codec.0.layers.0.embed", "codec.1.layers.3.embed"),
    ],
)
def test_names_that_the_library_removed_as_aliases_are_restored(names, tmp_path, read_all, torch_bytes):
    """What load_model gives a model whose layers are tied."""
    path = tmp_path / "a.safetensors"
    save_model(tied(names), str(path))
    assert len(load_file(path)) == 1
    model = tied(names)
    model.get_buffer(names[0]).zero_()
    load_model(model, path)
    assert {name: found[2] for name, found in read_all(path).items()} == {
        name: torch_bytes(value) for name, value in model.state_dict().items()
    }


@pytest.mark.parametrize(
    ("stored", "metadata"),
    [
        (["a"], {"quantizer.embed": "a"}),
        (["x"], {"quantizer.embed": "x"}),
        (["_codebook.embed"], {"quantizer.vq.layers.0._codebook.embed": "_codebook.embed"}),
        (["model.quantizer.embed"], {"quantizer.embed": "model.quantizer.embed"}),
        (["layers.0.embed"], {"layers.\u0661.embed": "layers.0.embed"}),
        # The library keeps the name that comes first.
        (["layers.1.embed"], {"layers.0.embed": "layers.1.embed"}),
        (["quantizer.embed"], {"a.quantizer.embed": "quantizer.embed"}),
        # An alias of an alias is none, in either order.
        (["layers.0.embed"], {"layers.1.embed": "layers.0.embed", "layers.2.embed": "layers.1.embed"}),
        (["layers.0.embed"], {"layers.2.embed": "layers.1.embed", "layers.1.embed": "layers.0.embed"}),
        (["layers.0.embed"], {"layers.1.embed_avg": "layers.0.embed"}),
        (["layers.0.embed"], {"layers.x.embed": "layers.0.embed"}),
        (["layers.0.embed"], {"layers.1": "layers.0.embed"}),
        (["encoder.embed"], {"quantizer.embed": "encoder.embed"}),
        (["embed"], {"quantizer_embed": "embed"}),
        (["layers.0.embed"], {"layers.1.embed": "absent", "absent": "layers.0.embed"}),
    ],
)
def test_an_alias_that_the_library_would_not_write_is_ignored_as_it_ignores_it(stored, metadata, tmp_path, read_all):
    path = tmp_path / "a.safetensors"
    save_file({name: torch.arange(4.0) for name in stored}, path, metadata)
    believed = {name for name in ("layers.1.embed",) if metadata.get(name) == "layers.0.embed"}
    assert set(read_all(path)) == set(load_file(path)) | believed


def test_an_alias_never_replaces_a_stored_tensor(tmp_path, read_all, torch_bytes):
    path = tmp_path / "a.safetensors"
    state = {"layers.0.embed": torch.zeros(2), "layers.1.embed": torch.ones(2)}
    save_file(state, path, {"layers.1.embed": "layers.0.embed", "layers.2.embed": "absent"})
    assert {name: found[2] for name, found in read_all(path).items()} == {
        name: torch_bytes(value) for name, value in load_file(path).items()
    }


def raw(text, data=b"1"):
    return len(text).to_bytes(8, "little") + text + data


ONE = b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
HALVES = b'{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]},%s'
EMPTY = b'"e":{"dtype":"U8","shape":[0],"data_offsets":[%d,%d]}}'


@pytest.mark.parametrize(
    "data",
    [
        *(raw(space + ONE) for space in (b" ", b"\n", b"\t", b"\r", b"\r\n \t", b" " * 300)),
        *(raw(ONE + space) for space in (b" ", b"\r\n\t ")),
        *(raw(HALVES % EMPTY % (at, at), b"1234") for at in (0, 2, 4)),
        raw(b'{"__metadata__":null,' + ONE[1:]),
        raw(b'{"__metadat\\u0061__":{"x":"y"},' + ONE[1:]),
        raw(ONE.replace(b'"a"', b'"\\ud83d\\ude00"')),
        raw(ONE.replace(b'"a"', b'"a\x7f"')),
        raw(ONE.replace(b'"dtype"', b'"further":[1.5,{"x":null}],"dtype"')),
        raw(b"{}", b""),
    ],
)
def test_what_the_library_reads_is_read_with_the_same_bytes(data, put, read_all, torch_bytes):
    path = put(data, "file.safetensors")
    assert {name: found[2] for name, found in read_all(path).items()} == {
        name: torch_bytes(value) for name, value in load_file(path).items()
    }


@pytest.mark.parametrize(
    "data",
    [
        *(raw(space + ONE) for space in (b"\0", b"\x0b", b"\x0c", b"\xc2\xa0", b"\xef\xbb\xbf", b" \xef\xbb\xbf")),
        *(raw(ONE + space) for space in (b"\0", b"\x0b", b"\xef\xbb\xbf")),
        *(raw(HALVES % EMPTY % (at, at), b"1234") for at in (1, 3, 5)),
        *(
            raw(b'{"__metadata__":%s,' % other + ONE[1:])
            for other in (b"[]", b"0", b"false", b'""', b'[["x","a"]]', b'{"x":1}', b'{"x":"\\ud800"}')
        ),
        *(raw(ONE.replace(b'"dtype"', b'"x":%s,"dtype"' % other)) for other in (b"NaN", b"Infinity", b"-Infinity")),
        *(raw(ONE.replace(b"[0,1]", other)) for other in (b"[-0,1]", b"[0.0,1]", b"[0,1e0]", b"[00,1]", b"[0,1,1]")),
        raw(ONE.replace(b"[1]", b"[-0]"), b""),
        raw(ONE.replace(b'"a"', b'"\\ud800"')),
        raw(ONE.replace(b'"a"', b'"a\x01"')),
        raw(ONE.replace(b'"a"', b'"\xff"')),
        raw(ONE.replace(b'"dtype"', b'"x":"\\udc00\\ud800","dtype"')),
        raw(ONE.replace(b'"dtype"', b'"dtype":"U8","dtype"')),
        raw(b'{"a":null}', b""),
    ],
)
def test_what_the_library_refuses_is_refused(data, put):
    path = put(data, "file.safetensors")
    with pytest.raises(SafetensorError):
        load_file(path)
    with pytest.raises(CheckpointError, match=r"file\.safetensors: ") as caught:
        open_checkpoint(path)
    assert str(caught.value).isprintable()


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
