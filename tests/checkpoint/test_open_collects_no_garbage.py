"""An index is many small objects and no garbage: Python must not look through all of them again and again."""

import gc

import pytest
import torch

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.errors import CheckpointError


@pytest.fixture
def collections():
    """The collections that have been begun, in a list that grows."""
    begun = []

    def note(phase, _):
        begun.append(phase)

    gc.callbacks.append(note)
    yield begun
    gc.callbacks.remove(note)


@pytest.fixture
def many(tmp_path):
    """A checkpoint of two thousand tensors, which are enough to set collections off."""
    path = tmp_path / "many.pth"
    torch.save({f"layer.{number}.weight": torch.zeros(1) for number in range(2000)}, path)
    return path


def test_opening_sets_off_no_collection(many, collections):
    gc.collect()
    collections.clear()
    checkpoint = open_checkpoint(many)
    assert collections == []
    checkpoint.close()
    assert gc.isenabled()


def test_a_program_that_collects_nothing_goes_on_so(many):
    gc.disable()
    try:
        open_checkpoint(many).close()
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_collection_goes_on_after_a_file_that_cannot_be_read(tmp_path):
    (tmp_path / "bad.pth").write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(CheckpointError):
        open_checkpoint(tmp_path / "bad.pth")
    assert gc.isenabled()
