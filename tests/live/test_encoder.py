"""What find tells of a module: every codec in it, each tensor with a label of its own, followed by name."""

import pytest
import torch
from torch import nn

import vqcheck
from vqcheck.errors import UsageError
from vqcheck.live.encoder import find
from vqcheck.live.watch import EncoderWatch
from vqcheck.synthesizer.quantizer import ResidualVectorQuantizer


@pytest.fixture
def two_codecs(small_model, dac_like):
    """A model of two codecs, each behind a prefix of its own."""
    return nn.ModuleDict({"speech": small_model(), "music": dac_like()})


def test_each_of_two_codecs_is_watched_under_its_own_labels(two_codecs):
    """Labels begin with the prefix where one alone would name two tensors; a change of either codec shows."""
    encoder = find(two_codecs)
    labels = [tensor.label for tensor in encoder.tensors]
    assert len(set(labels)) == len(labels)
    assert {"speech codes", "music codes"} <= set(labels)
    watch = EncoderWatch(encoder)
    with torch.no_grad():
        two_codecs["music"].quantizer.quantizers[0].codebook.weight[3] += 1
    assert [(step.label, step.rows_changed) for step in watch.look() if step.changed] == [("music codes", 1)]


def test_two_codecs_of_one_kind_are_two_books():
    """The same codec twice is one encoder of several books, which the labels name."""
    model = nn.ModuleDict({name: nn.Module() for name in ("semantic", "acoustic")})
    for each in model.values():
        each.quantizer = ResidualVectorQuantizer(4, bins=8)
        each.quantizer.codebooks()[0].initialise(torch.randn(50, 4, generator=torch.Generator().manual_seed(0)))
        each.ssl_proj = nn.Conv1d(4, 4, 2, stride=2)
    encoder = find(model)
    assert {tensor.book for tensor in encoder.tensors} == {0, 1}
    assert len({tensor.label for tensor in encoder.tensors}) == len(encoder.tensors) == 12


def test_what_is_found_is_followed_by_name(small_model, book):
    """Another tensor under the name is the one that stands there now; one that is no tensor any more is left out."""
    model = small_model()
    encoder = find(model)
    assert encoder.now().keys() == {tensor.name for tensor in encoder.tensors}
    book(model).embed = other = torch.ones(3, 3)
    assert any(tensor.data_ptr() == other.data_ptr() for tensor in encoder.now().values())
    book(model).embed = None
    assert len(encoder.now()) == len(encoder.tensors) - 1
    del model.quantizer
    assert {name.partition(".")[0] for name in encoder.now()} == {"ssl_proj"}


@pytest.mark.parametrize("make", [vqcheck.guard, vqcheck.freeze, vqcheck.monitor])
def test_what_is_no_module_is_refused(make, small_model):
    """A state dict cannot be watched, since training writes the module."""
    with pytest.raises(UsageError, match=r"expected a torch\.nn\.Module, given OrderedDict"):
        make(small_model().state_dict())
