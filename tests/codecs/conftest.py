"""Codec packages without their dependencies: what they import for audio files is replaced by nothing.

Install them with `pip install --no-deps -c .ci/constraints.txt encodec descript-audio-codec`, then run
`pytest tests/codecs`. Their quantizers are their own, unmodified.
"""

import sys
import types
from typing import ClassVar

import pytest
import torch
import transformers  # noqa: F401 - looks for torchaudio while it is imported, so before a stand-in takes the name


def _stand_in(name, **attributes):
    """Puts an empty module in the place of one that these tests have no use for."""
    sys.modules.setdefault(name, types.ModuleType(name)).__dict__.update(attributes)


class _Model(torch.nn.Module):
    INTERN: ClassVar = []
    EXTERN: ClassVar = []


class _Nothing:
    pass


_stand_in("torchaudio")
_stand_in("argbind", bind=lambda *_, **__: lambda function: function)
_stand_in("audiotools.ml", BaseModel=_Model, Accelerator=_Nothing)
_stand_in("audiotools", AudioSignal=_Nothing, STFTParams=_Nothing, ml=sys.modules["audiotools.ml"])


@pytest.fixture
def compared(tmp_path):
    """Compares two state dicts as files."""
    from vqcheck import compare, open_checkpoint

    def run(a, b, **options):
        torch.save(a, tmp_path / "a.pth")
        torch.save(b, tmp_path / "b.pth")
        with open_checkpoint(tmp_path / "a.pth") as first, open_checkpoint(tmp_path / "b.pth") as second:
            return compare(first, second, **options)

    return run


@pytest.fixture
def state_of():
    """Returns a copy of a module's state dict."""

    def copy(module, prefix=""):
        return {prefix + name: value.detach().clone() for name, value in module.state_dict().items()}

    return copy
