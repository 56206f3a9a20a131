"""A legacy torch file is read like a zip, however long its index, and refused where its storages leave the file."""

import io
import pickle
from collections import OrderedDict

import pytest
import torch

from vqcheck.checkpoint import torch_legacy
from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.errors import CheckpointError


def legacy(value, **options):
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=False, **options)
    return buffer.getvalue()


def made(index, keys, storages, system=None, magic=torch_legacy.MAGIC, protocol=1001):
    """Return a legacy file from parts: `storages` are (count, bytes)."""
    system = {"protocol_version": 1001, "little_endian": True} if system is None else system
    parts = [pickle.dumps(part, 2) for part in (magic, protocol, system)] + [index, pickle.dumps(keys, 2)]
    return b"".join(parts) + b"".join(count.to_bytes(8, "little", signed=True) + data for count, data in storages)


@pytest.mark.parametrize("protocol", range(2, 6))
def test_every_pickle_protocol_is_read(protocol, put, read_all, torch_bytes):
    state = OrderedDict(a=torch.randn(3, 4), b=torch.randn(4, 3).t(), c=torch.nn.Parameter(torch.ones(1)))
    found = read_all(put(legacy({"model": state, "iteration": 3}, pickle_protocol=protocol)))
    assert {name: entry[2] for name, entry in found.items()} == {name: torch_bytes(t) for name, t in state.items()}


def test_a_file_made_by_hand_is_read_so_that_the_refusals_below_mean_what_they_say(put, torch_pickle, claim, read_all):
    index = torch_pickle({"t": claim(count=4)})
    assert read_all(put(made(index, ["0"], [(4, bytes(range(16)))]))) == {"t": ("float32", (4,), bytes(range(16)))}


@pytest.mark.parametrize("edge", range(-12, 13))
def test_an_index_is_read_wherever_the_first_window_ends(edge, put, read_all, torch_pickle, claim, monkeypatch):
    state = {f"tensor {number}": claim() for number in range(300)}
    data = made(torch_pickle({"weight": state, "names": list(state)}), ["0"], [(4, bytes(range(16)))])
    # A long memo index and the small numbers of a shape mean something else when they are cut short.
    at = data.index(b"j", data.index(b"names")) if edge % 2 else data.index(b"tensor 290") + 60
    monkeypatch.setattr(torch_legacy, "_FIRST_WINDOW", at + edge)
    assert read_all(put(data)) == {name: ("float32", (4,), bytes(range(16))) for name in state}


def test_storages_of_several_types_are_found_behind_each_other(put, torch_bytes):
    state = {str(dtype): torch.ones(3).to(dtype) for dtype in (torch.bool, torch.float64, torch.int16, torch.bfloat16)}
    state["complex"] = torch.ones(5, dtype=torch.complex64)
    state["last"] = torch.arange(7)
    path = put(legacy(state))
    with open_checkpoint(path) as checkpoint:
        for name in state.keys() - {"complex"}:
            assert bytes(checkpoint.read(checkpoint.tensors[name])) == torch_bytes(state[name])
        with pytest.raises(CheckpointError, match="complex: element type complex64 is not supported"):
            checkpoint.read(checkpoint.tensors["complex"])


def test_a_module_that_was_saved_whole_beside_a_state_dict_is_refused_with_what_to_do(put):
    data = legacy({"net": torch.nn.Linear(2, 2, bias=False), "state_dict": {"t": torch.ones(1)}})
    assert b"X\x06\x00\x00\x00module" in data
    with pytest.raises(
        CheckpointError, match=r"saved whole: loading it runs code of torch\.nn\S*\.Linear, which .* save"
    ):
        open_checkpoint(put(data))


def test_a_module_without_tensors_stays_a_name(put, read_all):
    data = legacy({"act": torch.nn.ReLU(), "state_dict": {"t": torch.ones(1)}})
    assert b"X\x06\x00\x00\x00module" in data
    assert read_all(put(data)) == {"t": ("float32", (1,), b"\x00\x00\x80\x3f")}


def test_a_view_recorded_by_an_old_torch_begins_at_its_offset(put, torch_pickle, claim, read_all):
    tensor = claim(size=(2,), count=4)
    tensor.storage.persistent_id += (("view", 1, 2),)
    data = made(torch_pickle({"t": tensor}), ["0"], [(4, bytes(range(16)))])
    assert read_all(put(data))["t"][2] == bytes(range(4, 12))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"system": {"little_endian": False}}, "big-endian"),
        ({"system": []}, "unknown protocol"),
        ({"protocol": 1002}, "unknown protocol"),
        ({"magic": 7}, r"is not a checkpoint \(neither torch nor safetensors\)"),
        ({"keys": {}}, "no list of storages"),
        ({"keys": ["0", "0"]}, "storage 0: is listed twice"),
        ({"keys": ["\x1b9"]}, r"storage \\x1b9: is listed twice or used by no tensor"),
        ({"keys": [["0"]]}, "storage without a name"),
        ({"storages": [(-1, b"")]}, "storage 0: -1 elements lie outside the file"),
        ({"storages": [(1 << 40, b"")]}, "1099511627776 elements lie outside the file"),
        ({"storages": [(5, bytes(16))]}, "5 elements lie outside the file"),
        ({"storages": []}, "storage 0: lies outside the file"),
    ],
)
def test_a_damaged_file_is_refused_with_the_reason(change, reason, put, torch_pickle, claim):
    parts = {"index": torch_pickle({"t": claim()}), "keys": ["0"], "storages": [(4, bytes(16))]} | change
    with pytest.raises(CheckpointError, match=reason):
        open_checkpoint(put(made(**parts)))


def test_one_storage_cannot_have_two_element_types(put, torch_pickle, claim):
    index = torch_pickle({"a": claim(), "b": claim(kind=torch.DoubleStorage)})
    with pytest.raises(CheckpointError, match="gives storage 0 two element types"):
        open_checkpoint(put(made(index, ["0"], [(4, bytes(32))])))


def test_an_unknown_storage_type_cannot_be_stepped_over(put, torch_pickle, claim):
    index = torch_pickle({"a": claim(kind=torch.Tensor)})
    with pytest.raises(CheckpointError, match="storage 0: element type Tensor is not supported"):
        open_checkpoint(put(made(index, ["0"], [(4, bytes(16))])))


def test_a_file_cut_anywhere_is_refused(put):
    data = legacy({"t": torch.ones(4)})
    for cut in range(len(data)):
        with pytest.raises(CheckpointError, match=r"file\.pth: "):
            open_checkpoint(put(data[:cut]))


def test_a_file_from_before_the_pickle_format_is_refused_with_what_to_do(put):
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("storages"), io.BytesIO())
    with pytest.raises(CheckpointError, match=r"is a tar archive of torch before 0\.1\.10; save it again"):
        open_checkpoint(put(buffer.getvalue()))
