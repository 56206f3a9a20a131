"""What torch itself loads of a file made by hand, beside what vqcheck reads of it."""

import io
import sys
from pathlib import Path

import pytest
import torch

TESTS = Path(__file__).parents[2]
sys.path[:0] = [str(TESTS), str(TESTS / "checkpoint")]

from differential.crafted import CONTAINER, NAME  # noqa: E402

from vqcheck.checkpoint.open import open_checkpoint  # noqa: E402
from vqcheck.errors import CheckpointError  # noqa: E402


@pytest.fixture
def torch_value(torch_bytes):
    """Returns the values that torch finds under the codebook's name; None where it finds no tensor."""

    def load(path, *, full=False, container=CONTAINER):
        loaded = torch.load(path, map_location="cpu", weights_only=not full)
        value = loaded.get(container, {}).get(NAME) if container else loaded.get(NAME)
        return torch_bytes(value.resolve_neg()) if isinstance(value, torch.Tensor) else None

    return load


@pytest.fixture
def vqcheck_value():
    """Returns the values that vqcheck certifies under the codebook's name."""

    def read(path):
        with open_checkpoint(path) as checkpoint:
            return bytes(checkpoint.read(checkpoint.tensors[NAME]))

    return read


@pytest.fixture
def refused(put, torch_value, vqcheck_value):
    """Checks that torch loads something else than the file seems to say, and that vqcheck refuses with this reason."""

    def check(data, seems, reason, *, full=False, container=CONTAINER):
        path = put(data)
        assert torch_value(path, full=full, container=container) != seems
        with pytest.raises(CheckpointError, match=reason) as caught:
            vqcheck_value(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert str(caught.value).isprintable()

    return check


@pytest.fixture
def agreed(put, torch_value, vqcheck_value):
    """Checks that torch and vqcheck read these values."""

    def check(data, expected, *, full=False, container=CONTAINER):
        path = put(data)
        assert torch_value(path, full=full, container=container) == expected
        assert vqcheck_value(path) == expected

    return check


@pytest.fixture
def saved():
    """Returns what torch.save writes."""

    def save(value, **options):
        buffer = io.BytesIO()
        torch.save(value, buffer, **options)
        return buffer.getvalue()

    return save
