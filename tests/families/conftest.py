"""State dicts with the names, shapes and element types of real codecs, read off tiny models of each."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from sheet import LAYOUTS


def value(tensor, generator):
    """Returns plausible values: flags set, counts positive, everything else random."""
    dtype, shape = getattr(torch, tensor["dtype"]), tensor["shape"]
    if tensor["role"] == "init_flag":
        return torch.ones(shape).to(dtype)
    if tensor["role"] == "ema_count":
        return 1 + 10 * torch.rand(shape, generator=generator)
    return torch.randn(shape, generator=generator) if dtype.is_floating_point else torch.ones(shape, dtype=dtype)


@pytest.fixture
def state_of():
    """Returns a state dict laid out as a codec's."""

    def make(codec, seed=0):
        generator = torch.Generator().manual_seed(seed)
        return {name: value(t, generator) for t in LAYOUTS[codec]["tensors"] for name in t["names"]}

    return make


@pytest.fixture
def saved(tmp_path):
    """Saves a bare state dict, returns its path."""

    def write(state, name="a.pth"):
        torch.save(state, tmp_path / name)
        return tmp_path / name

    return write


@pytest.fixture
def compared(saved):
    """Compares two state dicts as files."""
    from vqcheck import compare, open_checkpoint

    def run(a, b, **options):
        with open_checkpoint(saved(a, "a.pth")) as first, open_checkpoint(saved(b, "b.pth")) as second:
            return compare(first, second, **options)

    return run


@pytest.fixture
def inspected(saved):
    """Inspects a state dict as a file."""
    from vqcheck import open_checkpoint
    from vqcheck.codebook.inspection import inspect

    def run(state, **options):
        with open_checkpoint(saved(state)) as checkpoint:
            return inspect(checkpoint, **options)

    return run
