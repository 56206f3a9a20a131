"""Every kind of write to the VQ encoder is seen, and nothing else is."""

import copy
import math

import pytest
import torch

from vqcheck.live.encoder import find
from vqcheck.live.watch import EncoderWatch, bits, same_bits
from vqcheck.synthesizer import preset

BOOK = "quantizer.vq.layers.0._codebook"


@pytest.fixture
def model():
    torch.manual_seed(0)
    net = preset("tiny").synthesizer(freeze_quantizer=False)
    net.initialise_codebook(torch.randn(4, 32, 80))
    return net


def book(net):
    return net.get_submodule(BOOK)


def by_label(steps):
    return {step.label: step for step in steps}


def test_untouched_is_unchanged(model):
    """Two looks at a model that nothing wrote to report no change in any tensor."""
    watch = EncoderWatch(find(model))
    for step in watch.look() + watch.look():
        assert (step.changed, step.written, step.rows_changed, step.l2, step.max_abs) == (False, False, 0, 0.0, 0.0)


def test_a_data_write_is_seen_though_the_version_stays(model):
    """A write through `.data` leaves `_version` alone, and is reported with its rows and size."""
    watch = EncoderWatch(find(model))
    version = book(model).embed._version
    book(model).embed.data[[3, 5], 0] += 2.0
    assert book(model).embed._version == version
    codes = by_label(watch.look())["codes"]
    assert (codes.changed, codes.written, codes.rows_changed, codes.rows) == (True, True, 2, 64)
    assert codes.l2 == pytest.approx(math.sqrt(8), rel=1e-5)
    assert codes.max_abs == pytest.approx(2.0, rel=1e-5)


def rebind(net):
    book(net).embed = book(net).embed + 1


def rewrite_by_numpy(net):
    book(net).embed.numpy()[0, 0] += 1


def load(net):
    state = copy.deepcopy(net.state_dict())
    state[f"{BOOK}.embed"][0] += 1
    net.load_state_dict(state)


@pytest.mark.parametrize("write", [rebind, rewrite_by_numpy, load])
def test_other_kinds_of_write_are_seen(model, write):
    """A tensor that is replaced, written through an alias in numpy, or loaded is seen as changed."""
    watch = EncoderWatch(find(model))
    write(model)
    steps = by_label(watch.look())
    assert {label for label, step in steps.items() if step.changed} == {"codes"}


def test_another_shape_is_a_change_of_every_row(model):
    """A tensor replaced by one of another shape counts as changed in every row, with no distance."""
    watch = EncoderWatch(find(model))
    book(model).embed = torch.zeros(8, 32)
    codes = by_label(watch.look())["codes"]
    assert (codes.changed, codes.written, codes.rows_changed) == (True, True, 64)
    assert math.isnan(codes.l2)


def test_signs_of_zero_and_nan_payloads_count(model):
    """Bits are compared, not values: -0.0 is not 0.0, and a NaN is itself."""
    assert not same_bits(torch.tensor([0.0]), torch.tensor([-0.0]))
    assert same_bits(torch.tensor([math.nan]), torch.tensor([math.nan]))
    book(model).embed.data[0, 0] = math.nan
    watch = EncoderWatch(find(model))
    assert not by_label(watch.look())["codes"].changed


def test_written_back_is_written_but_not_changed(model):
    """A tensor that returns to its first bits is no longer changed, yet the write is reported."""
    watch = EncoderWatch(find(model))
    book(model).cluster_size.data += 1
    assert by_label(watch.look())["ema_count"].changed
    book(model).cluster_size.data -= 1
    count = by_label(watch.look())["ema_count"]
    assert (count.changed, count.written) == (False, True)
    assert not by_label(watch.look())["ema_count"].written


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool, torch.int64]
)
def test_bits_of_every_width(dtype):
    """Elements of every width are compared as integers of that width, also in a view that is not contiguous."""
    tensor = torch.tensor([[0, 1, 1], [1, 0, 1]]).to(dtype).T
    assert bits(tensor).numel() == 6
    assert same_bits(tensor, tensor.clone())
    other = tensor.clone()
    other[0, 0] = 1
    assert not same_bits(tensor, other)
