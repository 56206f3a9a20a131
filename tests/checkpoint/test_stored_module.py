"""Of a module that was saved whole `inspect` and `diff` show what is stored and name the class; nothing trusts it."""

import pytest
import torch
from torch import nn

from vqcheck.checkpoint.open import open_as_stored, open_checkpoint
from vqcheck.cli.main import main
from vqcheck.errors import CheckpointError

WAYS = {"zip": {}, "legacy": {"_use_new_zipfile_serialization": False}}
AROUND = {"alone": lambda module: module, "in a dictionary": lambda module: {"epoch": 3, "model": module}}


class Book(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.register_buffer("inited", torch.ones(1))
        self.register_buffer("cluster_size", torch.rand(4) + 20)
        self.register_buffer("embed", torch.randn(4, 2))
        self.register_buffer("embed_avg", torch.randn(4, 2))
        self.register_buffer("passing", torch.randn(2), persistent=False)
        self.register_buffer("absent", None)
        self.plain = torch.ones(2)


class Changing(Book):
    """Makes other values of what is stored when it is loaded."""

    def __setstate__(self, state):
        super().__setstate__(state)
        self.embed += 1


def model(book=Book):
    net = nn.Module()
    net.ssl_proj = nn.Conv1d(3, 2, 2)
    net.quantizer, net.quantizer.vq = nn.Module(), nn.Module()
    layer = nn.Module()
    layer._codebook = book()
    net.quantizer.vq.layers = nn.ModuleList([layer])
    return net


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("around", AROUND)
def test_what_is_read_is_the_state_dict_of_the_module(way, around, tmp_path, torch_bytes):
    net = model()
    torch.save(AROUND[around](net), tmp_path / "a.pth", **WAYS[way])
    with open_as_stored(tmp_path / "a.pth") as checkpoint:
        found = {name: bytes(checkpoint.read(tensor)) for name, tensor in checkpoint.tensors.items()}
        assert found == {name: torch_bytes(value) for name, value in net.state_dict().items()}
        assert checkpoint.module_classes[0].endswith("test_stored_module.Book")


@pytest.mark.parametrize("book", [Book, Changing])
def test_diff_and_inspect_name_the_class_and_lock_and_gate_answer_2(book, tmp_path, capsys):
    """Also where the class changes nothing: nobody can know that from the file."""
    net = model(book)
    whole, plain = str(tmp_path / "whole.pth"), str(tmp_path / "plain.pth")
    torch.save(net, whole)
    torch.save(net.state_dict(), plain)
    loaded = torch.load(whole, weights_only=False)
    moved = not torch.equal(loaded.quantizer.vq.layers[0]._codebook.embed, net.quantizer.vq.layers[0]._codebook.embed)
    assert moved == (book is Changing)
    assert main(["diff", plain, whole]) == 0
    assert f"code of {book.__module__}.{book.__name__}" in " ".join(capsys.readouterr().out.split())
    assert main(["inspect", whole]) == 0
    assert f"{book.__module__}.{book.__name__}" in " ".join(capsys.readouterr().out.split())
    for command in (["lock", whole, "-o", str(tmp_path / "a.lock")], ["tokens", whole, str(tmp_path)]):
        assert main(command) == 2
        assert f"runs code of {book.__module__}.{book.__name__}" in capsys.readouterr().err
    assert main(["lock", plain, "-o", str(tmp_path / "a.lock")]) == 0
    assert main(["lock", "--check", whole, "-o", str(tmp_path / "a.lock")]) == 2
    assert not any(path.name.startswith("whole.lock") for path in tmp_path.iterdir())


def test_a_changed_value_in_it_is_seen(tmp_path):
    net = model()
    torch.save(net.state_dict(), tmp_path / "plain.pth")
    net.quantizer.vq.layers[0]._codebook.embed[1, 1] += 1
    torch.save(net, tmp_path / "whole.pth")
    assert main(["diff", str(tmp_path / "plain.pth"), str(tmp_path / "whole.pth")]) == 1


def test_a_module_that_shares_its_tensors_with_a_state_dict_makes_that_doubtful_too(tmp_path):
    """Its class is handed the very tensors, in the optimizer's corner or anywhere else."""
    net = model()
    for place in ("model", "optimizer"):
        torch.save({"state_dict": net.state_dict(), place: net}, tmp_path / "both.pth")
        with pytest.raises(CheckpointError, match="saved whole"):
            open_checkpoint(tmp_path / "both.pth")


def broken(change):
    net = model()
    change(net)
    return net


HOSTILE = {
    "a number for a tensor": lambda net: net._buffers.update(x=3),
    "a dictionary for a module": lambda net: net._modules.update(x={"a": 1}),
    "a name with a dot": lambda net: net._buffers.update({"a.b": torch.ones(1)}),
    "a module in itself": lambda net: net._modules.update(x=net),
    "a number as a name": lambda net: net._buffers.update({3: torch.ones(1)}),
    "a parameter that is a buffer": lambda net: (
        net._parameters.update(x=torch.ones(1)),
        net._buffers.update(x=torch.ones(2)),
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_no_sound_module_is_refused(what, tmp_path):
    torch.save(broken(HOSTILE[what]), tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="holds"):
        open_as_stored(tmp_path / "a.pth")


def test_modules_in_modules_without_end_are_refused_quickly(tmp_path):
    """Forty modules, each twice in the next: a million million names."""
    inner = nn.Linear(1, 1)
    for _ in range(40):
        inner = nn.ModuleList([inner, inner])
    torch.save(inner, tmp_path / "bomb.pth")
    with pytest.raises(CheckpointError, match="too many modules, or some too deep"):
        open_as_stored(tmp_path / "bomb.pth")
