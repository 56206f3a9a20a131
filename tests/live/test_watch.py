"""Every kind of write to the VQ encoder is seen, and nothing else is."""

import copy
import math
import re

import pytest
import torch
from torch import nn

from vqcheck import guard
from vqcheck.errors import CodebookChanged
from vqcheck.live.encoder import find
from vqcheck.live.first_write import WriteCatcher
from vqcheck.live.watch import EncoderWatch, bits, not_equal, not_equal_at_once, same_bits
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


class Book(nn.Module):
    """A codebook of 6 codes as a codec lays it out."""

    def __init__(self, codes, **others):
        super().__init__()
        self.embed = nn.Parameter(codes)
        for name, value in others.items():
            self.register_buffer(name, value)


def in_columns(codes, sums, counts):
    return Book(codes.T.contiguous(), embed_avg=sums.T.contiguous(), cluster_size=counts)


def in_rows(codes, sums, counts):
    return Book(codes, embed_avg=sums, cluster_size=counts)


def in_heads(codes, sums, counts):
    return Book(codes.reshape(2, 3, -1), embed_avg=sums.reshape(2, 3, -1), cluster_size=counts.reshape(2, 3))


@pytest.mark.parametrize("lay", [in_rows, in_columns, in_heads])
def test_rows_are_codes_whatever_the_layout(lay):
    """One value of the sums and one count are one row of six each; so is a code."""
    codes, sums = (torch.randn(6, 4, generator=torch.Generator().manual_seed(seed)) for seed in range(2))
    module = nn.Module()
    module.quantizer = lay(codes, sums, torch.ones(6))
    encoder = find(module)
    watch = EncoderWatch(encoder)
    for tensor in module.quantizer.state_dict().values():
        tensor.view(-1)[0] += 1
    assert {(step.rows_changed, step.rows) for step in watch.look()} == {(1, 6)}
    assert {each.role for each in encoder.tensors} == {"codes", "ema_sum", "ema_count"}


def test_a_tensor_that_is_gone_and_comes_back(model):
    """While it is missing every row counts as changed; back with its first bits it is no longer changed."""
    watch = EncoderWatch(find(model))
    embed = book(model).embed
    del book(model).embed
    codes = by_label(watch.look())["codes"]
    assert (codes.problem, codes.changed, codes.written, codes.rows_changed) == ("is missing", True, True, 64)
    assert not by_label(watch.look())["codes"].written
    book(model).register_buffer("embed", embed)
    codes = by_label(watch.look())["codes"]
    assert (codes.problem, codes.changed, codes.written, codes.rows_changed) == ("", False, True, 0)


NO_LONGER_COMPARABLE = {
    "is now sparse_coo, was strided": lambda embed: embed.to_sparse(),
    "is now float16, was float32": lambda embed: embed.half(),
    "has now the shape [32, 64], had [64, 32]": lambda embed: embed.T,
    "is missing": lambda _: None,
}


@pytest.mark.parametrize("problem", NO_LONGER_COMPARABLE)
def test_what_cannot_be_compared_is_named(model, problem):
    """Whatever stands under the name of the codes, watch, catcher and guard say what it is, and raise no error else."""
    watch, watching = EncoderWatch(find(model)), guard(model, every=1)
    with WriteCatcher(find(model)) as catcher:
        book(model).embed = NO_LONGER_COMPARABLE[problem](book(model).embed)
        torch.ones(1).add_(1)
    assert list(catcher.first) == [f"{BOOK}.embed"]
    codes = by_label(watch.look())["codes"]
    assert (codes.problem, codes.changed, codes.rows_changed) == (problem, True, 64)
    with pytest.raises(CodebookChanged, match=re.escape(f"embed: {problem}, first in step 1")):
        watching.check()


def test_a_whole_quantizer_that_is_gone(model):
    """What stands above the tensors may disappear too."""
    watch = EncoderWatch(find(model))
    del model.quantizer
    assert {step.label for step in watch.look() if step.problem} == {"codes", "ema_sum", "ema_count", "init_flag"}


def test_a_write_that_was_undone_is_known_from_who_saw_it(model):
    """A look cannot tell what was written and put back; whoever caught the write says so."""
    watch = EncoderWatch(find(model))
    steps = by_label(watch.look({f"{BOOK}.embed"}))
    assert [label for label, step in steps.items() if step.written] == ["codes"]
    assert not steps["codes"].changed


@pytest.mark.parametrize("compare", [not_equal, not_equal_at_once])
def test_either_comparison_sees_any_bit(compare):
    """One bit differs in the sign of zero, the payload of a NaN, the highest bit of an integer, a byte, 8 bytes."""
    nan = torch.tensor([0x7FC00000, 0x7FC00001], dtype=torch.int32).view(torch.float32)
    pairs = [
        (torch.tensor([1.0, 0.0]), torch.tensor([1.0, -0.0])),
        (nan[:1], nan[1:]),
        (nan[:1], nan[:1].clone()),
        (torch.tensor([-(2**31), 0], dtype=torch.int32), torch.tensor([0, 0], dtype=torch.int32)),
        (torch.tensor([True, False]), torch.tensor([True, True])),
        (torch.tensor([2**63 - 1]), torch.tensor([-1])),
        (torch.tensor([1.5], dtype=torch.float16), torch.tensor([1.5], dtype=torch.float16)),
        (torch.empty(0), torch.empty(0)),
    ]
    one, other = ([bits(pair[side]) for pair in pairs] for side in (0, 1))
    assert compare(one, other) == [True, True, False, True, True, True, False, False]


def test_a_change_after_a_quiet_look_and_one_undone(model):
    """What was measured at an earlier look is not told of a later one: it is measured again when bits move."""
    watch, codes = EncoderWatch(find(model)), book(model).embed
    kept, seen = codes.clone(), []
    for value in (1.0, 1.0, 3.0, 0.0, 0.0):
        codes.data.copy_(kept)
        codes.data[0, 0] += value
        step = by_label(watch.look())["codes"]
        seen.append((step.changed, step.written, step.rows_changed, round(step.max_abs, 4)))
    assert seen == [
        (True, True, 1, 1.0),
        (True, False, 1, 1.0),
        (True, True, 1, 3.0),
        (False, True, 0, 0.0),
        (False, False, 0, 0.0),
    ]
