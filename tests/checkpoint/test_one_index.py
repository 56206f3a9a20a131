"""Of two files whose pickles are the same bytes one is read; whatever else a file says is asked of itself."""

import io
import zipfile

import pytest
import torch

from vqcheck.checkpoint import pickle_machine, torch_zip
from vqcheck.checkpoint.open import open_as_stored, open_checkpoint
from vqcheck.cli.main import main
from vqcheck.errors import CheckpointError


def state(seed=0):
    """Return tensors of one layout, with values of their own."""
    generator = torch.Generator().manual_seed(seed)
    return {"a.weight": torch.randn(3, 4, generator=generator), "a.bias": torch.randn(5, generator=generator).half()}


def saved(tensors, root="archive"):
    buffer = io.BytesIO()
    torch.save({"weight": tensors, "info": "8epoch"}, buffer)
    return edited(buffer.getvalue(), lambda name, data: (f"{root}/{name.partition('/')[2]}", data))


def edited(data, change, compression=zipfile.ZIP_STORED):
    """Return the archive with each member as `change` gives it; None leaves it out."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", compression) as new:
        for name in old.namelist():
            made = change(name, old.read(name))
            if made:
                new.writestr(*made)
    return buffer.getvalue()


def without(ending):
    return lambda data: edited(data, lambda name, member: None if name.endswith(ending) else (name, member))


def with_member(ending, content):
    return lambda data: edited(data, lambda name, member: (name, content if name.endswith(ending) else member))


def with_another(name, content):
    def make(data):
        buffer = io.BytesIO(data)
        with zipfile.ZipFile(buffer, "a") as archive:
            archive.writestr(name, content)
        return buffer.getvalue()

    return make


def reading(path, beside):
    """Return every tensor's bytes, or why the file is refused."""
    try:
        with open_checkpoint(path, beside=beside) as file:
            return {name: bytes(file.read(tensor)) for name, tensor in file.tensors.items()}
    except CheckpointError as error:
        return str(error)


@pytest.fixture
def counted(monkeypatch):
    """How often a pickle was read."""
    calls, load = [], pickle_machine.load
    monkeypatch.setattr(torch_zip.pickle_machine, "load", lambda *args: (calls.append(1), load(*args))[1])
    return calls


@pytest.mark.parametrize("root", ["archive", "G_800"])
def test_the_second_file_has_its_own_values(root, put, counted):
    """Root folder, places and values are those of its archive; the pickle of both is read once."""
    first, second = put(saved(state(1)), "a.pth"), put(saved(state(2), root), "b.pth")
    with open_checkpoint(first) as a:
        found = reading(second, a)
    assert found == {name: tensor.numpy().tobytes() for name, tensor in state(2).items()}
    assert len(counted) == 1


def test_another_pickle_is_read_for_itself(put, counted):
    """One byte that differs is another index."""
    first = put(saved(state(1)), "a.pth")
    second = put(saved({name.replace("weight", "weighs"): each for name, each in state(2).items()}), "b.pth")
    with open_checkpoint(first) as a:
        assert set(reading(second, a)) == {"a.weighs", "a.bias"}
    assert len(counted) == 2


FAULTS = {
    "big-endian": with_member("byteorder", b"big"),
    "a storage is missing": without("data/1"),
    "a storage is too short": with_member("data/0", b"\0" * 8),
    "a storage is too long": with_member("data/0", b"\0" * 800),
    "TorchScript": with_another("archive/constants.pkl", b"x"),
    "two indexes": with_another("data.pkl", b"x"),
    "a name twice, to torch": with_another("archive/DATA/0", b"x"),
    "cut off": lambda data: data[: len(data) * 2 // 3],
    "bytes behind": lambda data: data + b"x",
    "a local header that disagrees": lambda data: data.replace(b"archive/data/0", b"archive/data/9", 1),
    "packed": lambda data: edited(data, lambda name, member: (name, member), zipfile.ZIP_DEFLATED),
    "no fault": lambda data: data,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_with_a_file_is_found_beside_another_too(fault, put):
    """A sound file beside it changes nothing: it is refused in the same words, or has the same values."""
    first, second = put(saved(state(1)), "a.pth"), put(FAULTS[fault](saved(state(2))), "b.pth")
    alone = reading(second, None)
    with open_checkpoint(first) as a:
        assert reading(second, a) == alone
    assert isinstance(alone, dict) == (fault in ("no fault", "packed"))


@pytest.mark.parametrize("moved", [False, True])
def test_diff_of_files_with_one_index_compares_their_own_bytes(moved, put, vq_state, capsys):
    """One bit of one code is seen though both indexes are the same."""
    a, b = vq_state(), vq_state()
    codes = b["quantizer.vq.layers.0._codebook.embed"]
    codes.view(torch.int32)[3, 4] ^= int(moved)
    paths = [str(put(saved(each), name)) for each, name in ((a, "a.pth"), (b, "b.pth"))]
    assert main(["diff", *paths]) == int(moved)
    assert capsys.readouterr().out.startswith("changed" if moved else "identical")


def test_a_module_that_was_saved_whole_is_read_for_itself(put, counted):
    """Its classes decide about values, so that nothing is taken from another file."""
    paths = []
    for name in "ab":
        buffer = io.BytesIO()
        torch.save(torch.nn.Linear(2, 3), buffer)
        paths.append(put(buffer.getvalue(), f"{name}.pt"))
    with open_as_stored(paths[0]) as a, open_as_stored(paths[1], beside=a) as b:
        assert a.module_classes
        assert b.module_classes == a.module_classes
    assert len(counted) == 2
    with open_as_stored(paths[0]) as a, pytest.raises(CheckpointError, match="saved whole"):
        open_checkpoint(paths[1], beside=a)
