"""What tests of the reader share: torch's own bytes as the oracle, and files that no library would write."""

import io
import json
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from vqcheck.checkpoint.open import open_checkpoint

HERE = Path(__file__).parent


class Claim:
    """Pickled as a torch tensor that makes these claims about itself, true or not."""

    def __init__(self, size=(4,), stride=(1,), offset=0, count=4, key="0", kind=torch.FloatStorage):
        self.size, self.stride, self.offset = size, stride, offset
        self.storage = _Storage(kind, key, count)

    def __reduce__(self):
        arguments = (self.storage, self.offset, self.size, self.stride, False, OrderedDict())
        return torch._utils._rebuild_tensor_v2, arguments


class _Storage:
    def __init__(self, kind, key, count):
        self.persistent_id = ("storage", kind, key, "cpu", count)


class _Pickler(pickle.Pickler):
    def persistent_id(self, obj):
        return obj.persistent_id if isinstance(obj, _Storage) else None


@pytest.fixture(scope="session")
def claim():
    """The class of tensors that may lie about themselves."""
    return Claim


@pytest.fixture(scope="session")
def torch_bytes():
    """Returns a tensor's elements as torch holds them: C order, little-endian."""

    def dump(tensor):
        storage = tensor.detach().clone(memory_format=torch.contiguous_format).untyped_storage()
        return torch.tensor([], dtype=torch.uint8).set_(storage).numpy().tobytes()

    return dump


@pytest.fixture(scope="session")
def read_all():
    """Returns name -> (element type, shape, bytes) of everything that a file holds."""

    def read(path):
        with open_checkpoint(path) as checkpoint:
            return {
                name: (tensor.dtype, tensor.shape, bytes(checkpoint.read(tensor)))
                for name, tensor in checkpoint.tensors.items()
            }

    return read


@pytest.fixture(scope="session")
def torch_pickle():
    """Returns the pickle of an object in which claims stand for tensors."""

    def dumps(value, protocol=2):
        buffer = io.BytesIO()
        _Pickler(buffer, protocol).dump(value)
        return buffer.getvalue()

    return dumps


@pytest.fixture(scope="session")
def zip_bytes():
    """Returns a torch zip archive around a pickle and storages made by hand."""

    def make(index, storages=None, root="archive", compression=zipfile.ZIP_STORED, extra=()):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", compression) as archive:
            archive.writestr(f"{root}/data.pkl", index)
            archive.writestr(f"{root}/byteorder", "little")
            for key, data in (storages or {}).items():
                archive.writestr(f"{root}/data/{key}", data)
            for name, data in extra:
                archive.writestr(name, data)
        return buffer.getvalue()

    return make


@pytest.fixture(scope="session")
def safetensors_bytes():
    """Returns a safetensors file with this header, which may be a text, and this data."""

    def make(header, data=b"", length=None):
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(text) if length is None else length) + text + data

    return make


@pytest.fixture
def put(tmp_path):
    """Writes bytes to a file and returns its path."""

    def write(data, name="file.pth"):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


@pytest.fixture(scope="session")
def watched(run_script):
    """Opens and reads a file in a process of its own; returns (error or None, what was executed, peak MiB)."""

    def run(path, how="vqcheck"):
        done = run_script(HERE / "watch.py", how, path)
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout.splitlines()[-1])
        return result["error"], result["executed"], result["peak_mib"]

    return run
