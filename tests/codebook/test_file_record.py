"""A file's kind follows from what it holds, then from its name; and of two files the kinds say which came first."""

import hashlib

import pytest
import torch

from vqcheck import open_checkpoint
from vqcheck.codebook import model
from vqcheck.codebook.file_record import FileKind, FileRecord, Order, order, record

STATE = {"ssl_proj.bias": torch.ones(2)}


@pytest.mark.parametrize(
    ("name", "content", "kind", "epoch", "steps"),
    [
        ("s2G2333k.pth", {"weight": STATE, "config": {}}, FileKind.BASE, None, None),
        ("mine.pth", {"weight": STATE, "info": "merged by hand"}, FileKind.BASE, None, None),
        ("bare.pth", STATE, FileKind.UNKNOWN, None, None),
        ("optimal.pth", STATE | {"optim.weight": torch.ones(2)}, FileKind.UNKNOWN, None, None),
        ("G_400.pth", {"model": STATE, "iteration": 8, "optimizer": {}}, FileKind.TRAINING, 8, 400),
        ("G_233333333333.pth", {"model": STATE, "iteration": 8, "optimizer": {}}, FileKind.TRAINING, 8, None),
        ("kept.pth", {"model": STATE, "iteration": 8}, FileKind.TRAINING, 8, None),
        ("G_400.pth", {"model": STATE}, FileKind.TRAINING, None, 400),
        (
            "epoch=3-step=90.ckpt",
            {"state_dict": STATE, "optimizer_states": [], "global_step": 90},
            FileKind.TRAINING,
            3,
            90,
        ),
        ("me.pth", {"weight": STATE, "info": "8epoch_400iteration"}, FileKind.EXPORT, 8, 400),
        ("G_400.pth", {"weight": STATE, "info": "8epoch_400iteration"}, FileKind.EXPORT, 8, 400),
        ("me_e8_s400.pth", {"weight": STATE}, FileKind.EXPORT, 8, 400),
        ("me_e8_s400_l32.pth", STATE, FileKind.EXPORT, 8, 400),
        (
            "adapter.pth",
            {"weight": STATE | {"cfm.to_q.lora_A.default.weight": torch.ones(2)}},
            FileKind.EXPORT,
            None,
            None,
        ),
        ("epoch=3-step=90.ckpt", {"state_dict": STATE, "global_step": 90, "epoch": 3}, FileKind.STEP, 3, 90),
        ("weights.ckpt", {"state_dict": STATE, "global_step": 90}, FileKind.STEP, None, 90),
        ("model_step_1200.pt", STATE, FileKind.STEP, None, 1200),
        ("checkpoint-500.bin", STATE, FileKind.STEP, None, 500),
        ("timestep5.pt", STATE, FileKind.UNKNOWN, None, None),
    ],
)
def test_a_file_says_what_it_is(tmp_path, name, content, kind, epoch, steps):
    """An optimizer makes a training file, a run's record or name an export; content beats the name."""
    torch.save(content, tmp_path / name)
    with open_checkpoint(tmp_path / name) as file:
        found = record(file)
    assert (found.kind, found.epoch, found.steps) == (kind, epoch, steps)


def test_only_what_the_file_itself_holds_lets_it_leave_parts_out(tmp_path):
    """`info` or LoRA keys show an export; a name alone, a base and a training file of a LoRA run do not."""
    lora = STATE | {"cfm.to_q.lora_A.default.weight": torch.ones(2)}
    made = {
        "a.pth": ({"weight": STATE, "info": "8epoch_400iteration"}, "export"),
        "b.pth": ({"weight": lora}, "LoRA export"),
        "me_e8_s400.pth": ({"weight": STATE}, ""),
        "base.pth": ({"weight": STATE}, ""),
        "G_100.pth": ({"model": lora, "iteration": 2, "optimizer": {}}, ""),
    }
    for name, (content, leaves_out) in made.items():
        torch.save(content, tmp_path / name)
        with open_checkpoint(tmp_path / name) as file:
            assert record(file).leaves_out == leaves_out


def test_a_published_base_is_known_by_its_beginning(tmp_path, monkeypatch):
    """The first 8 KiB decide, not the name, and a record of its own run does not make it an export."""
    torch.save({"weight": STATE, "info": "8epoch_400iteration"}, tmp_path / "x.pth")
    with open_checkpoint(tmp_path / "x.pth") as file:
        assert (record(file).kind, record(file).published) == (FileKind.EXPORT, False)
        head = hashlib.md5((tmp_path / "x.pth").read_bytes()[:8192], usedforsecurity=False).hexdigest()
        monkeypatch.setattr(model, "_KNOWN_BASES", {head: ("s2G2333k.pth", "v2")})
        assert (record(file).kind, record(file).published) == (FileKind.BASE, True)


def test_an_overwritten_header_is_an_exports(checkpoints):
    """The published layout of Pro exports is recognised by its header."""
    with open_checkpoint(checkpoints / "sovits_v2pro_e2_s100.pth") as file:
        assert record(file).kind is FileKind.EXPORT


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (FileRecord(FileKind.BASE), FileRecord(FileKind.TRAINING, 1, 100)),
        (FileRecord(FileKind.UNKNOWN), FileRecord(FileKind.TRAINING)),
        (FileRecord(FileKind.BASE, published=True), FileRecord(FileKind.UNKNOWN)),
        (FileRecord(FileKind.BASE, published=True), FileRecord(FileKind.BASE)),
        (FileRecord(FileKind.BASE), FileRecord(FileKind.EXPORT, 1, 100)),
        (FileRecord(FileKind.UNKNOWN), FileRecord(FileKind.STEP, None, 5)),
        (FileRecord(FileKind.TRAINING, 8, 400), FileRecord(FileKind.EXPORT, 4, 200)),
        (FileRecord(FileKind.TRAINING, 1, 100), FileRecord(FileKind.TRAINING, 1, 200)),
        (FileRecord(FileKind.TRAINING, 1), FileRecord(FileKind.TRAINING, 2)),
        (FileRecord(FileKind.EXPORT, 1, 100), FileRecord(FileKind.STEP, None, 200)),
    ],
)
def test_the_order_of_two_files(first, second):
    """Without a record before a run, a training file before its exports, fewer steps before more; both ways round."""
    assert order(first, second) is Order.A_FIRST
    assert order(second, first) is Order.B_FIRST is Order.A_FIRST.turned


@pytest.mark.parametrize(
    "pair",
    [
        (FileRecord(FileKind.BASE), FileRecord(FileKind.UNKNOWN)),
        (FileRecord(FileKind.EXPORT, 8, 400), FileRecord(FileKind.EXPORT, 8, 400)),
        (FileRecord(FileKind.TRAINING, None, 100), FileRecord(FileKind.TRAINING, 3)),
    ],
)
def test_nothing_is_said_of_an_order_that_nothing_says(pair):
    """Two files without a step record, and two of one step, have no order."""
    assert order(*pair) is Order.UNKNOWN is order(*reversed(pair))
