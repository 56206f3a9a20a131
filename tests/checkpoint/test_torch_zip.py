"""A torch zip archive is read whatever its root folder, member order, packing, protocol or first two bytes."""

import io
import os
import subprocess
import sys
import zipfile
from collections import OrderedDict

import pytest
import torch

from vqcheck.checkpoint import pickle_machine
from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.errors import CheckpointError


@pytest.fixture
def state():
    return OrderedDict(a=torch.randn(3, 4), b=torch.randn(5).half(), c=torch.arange(300))


@pytest.fixture
def expected(state, torch_bytes):
    return {name: (str(t.dtype)[6:], tuple(t.shape), torch_bytes(t)) for name, t in state.items()}


def saved(state, **options):
    buffer = io.BytesIO()
    torch.save(state, buffer, **options)
    return buffer.getvalue()


def rezipped(
    data, *, compression=zipfile.ZIP_STORED, order=lambda names: names, rename=lambda name: name, leave_out=()
):
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", compression) as new:
        for name in order(old.namelist()):
            if not name.endswith(tuple(leave_out)):
                new.writestr(rename(name), old.read(name))
    return buffer.getvalue()


@pytest.mark.parametrize("protocol", range(2, 6))
def test_every_pickle_protocol_is_read(protocol, state, expected, put, read_all):
    assert read_all(put(saved(state, pickle_protocol=protocol))) == expected


@pytest.mark.parametrize("code", ["00", "01", "02", "03", "04", "05", "06"])
def test_a_file_whose_first_two_bytes_are_a_version_code_is_read_and_the_code_told(
    code, state, expected, put, read_all
):
    path = put(code.encode() + saved(state)[2:])
    assert read_all(path) == expected
    with open_checkpoint(path) as checkpoint:
        assert (checkpoint.header_code, checkpoint.format) == (code, "torch zip")


def test_a_plain_file_has_no_version_code(state, put):
    with open_checkpoint(put(saved(state))) as checkpoint:
        assert checkpoint.header_code == ""


@pytest.mark.parametrize("root", ["", "a/", "G_400/", "deep/er/", "空 白/", "archive/data/"])
def test_any_root_folder_is_read(root, state, expected, put, read_all):
    renamed = rezipped(saved(state), rename=lambda name: root + name.removeprefix("archive/"))
    assert read_all(put(renamed)) == expected


def test_any_member_order_is_read(state, expected, put, read_all):
    assert read_all(put(rezipped(saved(state), order=reversed))) == expected
    assert (
        read_all(put(rezipped(saved(state), order=lambda names: sorted(names, key=lambda name: name[::-1]))))
        == expected
    )


def test_deflated_members_are_read_also_from_their_middle(put, read_all, torch_bytes):
    base = torch.arange(300_000, dtype=torch.int32)
    state = {"all": base, "middle": base[150_000:150_010], "end": base[-3:], "turned": base[:6].reshape(2, 3).t()}
    path = put(rezipped(saved(state), compression=zipfile.ZIP_DEFLATED))
    assert path.stat().st_size < 900_000
    assert {name: found[2] for name, found in read_all(path).items()} == {
        name: torch_bytes(tensor) for name, tensor in state.items()
    }


def test_zip64_entries_are_read(state, expected, put, read_all, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10)
    data = rezipped(saved(state))
    assert b"PK\x06\x06" in data
    assert data.count(b"\xff\xff\xff\xff") > 5
    assert read_all(put(data)) == expected


def test_a_streamed_archive_whose_sizes_follow_its_members_is_read(state, expected, put, read_all):
    class Unseekable(io.BytesIO):
        def seekable(self):
            return False

        def seek(self, *_):
            raise io.UnsupportedOperation

        def tell(self):
            raise io.UnsupportedOperation

    buffer = Unseekable()
    with zipfile.ZipFile(io.BytesIO(saved(state))) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert read_all(put(buffer.getvalue())) == expected


def test_parameters_and_a_module_state_dict_with_its_metadata_are_read(put, read_all, torch_bytes):
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    assert module.state_dict()._metadata
    expected = {name: torch_bytes(tensor) for name, tensor in module.state_dict().items()}
    for state in (module.state_dict(), module.state_dict(keep_vars=True)):
        assert {name: found[2] for name, found in read_all(put(saved(state))).items()} == expected


class Tagged(torch.Tensor):
    pass


def test_a_parameter_with_plain_attributes_is_read_as_its_values(put, read_all):
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.note, parameter.partition_dim, parameter._optim = "mine", 0, {"lr": 1e-4, "betas": (0.9, 0.99)}
    data = saved({"parameter": parameter})
    assert b"_rebuild_parameter_with_state" in data
    assert read_all(put(data))["parameter"] == ("float32", (2,), b"\x00\x00\x80\x3f" * 2)


def test_a_tensor_of_a_class_of_its_own_is_refused(put):
    with pytest.raises(CheckpointError, match=r"makes a tensor of the class \S*Tagged, which may change its values"):
        open_checkpoint(put(saved({"tagged": torch.ones(2).as_subclass(Tagged)})))


def test_a_file_without_a_byte_order_is_little_endian(state, expected, put, read_all):
    # Torch before 2.1 writes none.
    assert read_all(put(rezipped(saved(state), leave_out=["byteorder"]))) == expected


def test_a_big_endian_file_is_refused(put, torch_pickle, zip_bytes, claim):
    data = zip_bytes(torch_pickle({"t": claim()}), {"0": bytes(16)})
    with open_checkpoint(put(data)) as checkpoint:
        assert len(checkpoint.read(checkpoint.tensors["t"])) == 16
    swapped = rezipped(data, leave_out=["byteorder"])
    buffer = io.BytesIO(swapped)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("archive/byteorder", "big")
    with pytest.raises(CheckpointError, match="archive/byteorder: only little-endian checkpoints are read"):
        open_checkpoint(put(buffer.getvalue()))


def test_another_zip_archive_is_no_checkpoint(put):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(CheckpointError, match=r"no torch checkpoint \(no data.pkl inside\)"):
        open_checkpoint(put(buffer.getvalue()))


def test_an_archive_with_two_indexes_is_refused(put, torch_pickle, zip_bytes, claim):
    index = torch_pickle({"t": claim()})
    with pytest.raises(CheckpointError, match=r"2 files named data.pkl"):
        open_checkpoint(put(zip_bytes(index, {"0": bytes(16)}, extra=[("other/data.pkl", index)])))


def test_a_missing_storage_is_named_when_it_is_read(put, torch_pickle, zip_bytes, claim):
    index = torch_pickle({"good": claim(key="0"), "bad": claim(key="\x1b1")})
    with open_checkpoint(put(zip_bytes(index, {"0": bytes(16)}))) as checkpoint:
        assert checkpoint.read(checkpoint.tensors["good"]) == bytes(16)
        with pytest.raises(CheckpointError, match=r"bad: its storage \\x1b1 is missing from the archive"):
            checkpoint.read(checkpoint.tensors["bad"])


def test_an_index_longer_than_any_checkpoints_is_refused(put, zip_bytes):
    index = b"B" + (pickle_machine.MAX_BYTES).to_bytes(4, "little") + bytes(pickle_machine.MAX_BYTES) + b"."
    with pytest.raises(CheckpointError, match=r"data\.pkl: 33554438 bytes, more than the 33554432 that are read"):
        open_checkpoint(put(zip_bytes(index, compression=zipfile.ZIP_DEFLATED)))


HEAVY = ["json", "numpy", "pathlib", "pickle", "rich", "safetensors", "tempfile", "torch", "zipfile"]


def test_nothing_heavy_is_imported_to_read_a_dense_tensor(state, put):
    path = put(saved(state))

    def imported(also=""):
        script = f"""
import sys
before = set(sys.modules)
from vqcheck.checkpoint.open import open_checkpoint
with open_checkpoint(sys.argv[1]) as checkpoint:
    for tensor in checkpoint.tensors.values():
        checkpoint.read(tensor)
{also}
print([name for name in {HEAVY} if name in sys.modules.keys() - before])
"""
        command = [sys.executable, "-S", "-c", script, path]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.strip()

    assert imported() == "[]"
    assert imported(also="import json") == "['json']"
