"""Weight-normed convolutions against torch's own."""

import warnings

import pytest
import torch
from torch import nn

from vqcheck.synthesizer.weight_norm import WeightNormColumnConv, WeightNormConv1d, WeightNormConvTranspose1d


def pair(ours, theirs):
    """Give torch's formulation the weights of ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        theirs = nn.utils.weight_norm(theirs)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.normal_()
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


CASES = {
    "plain": (lambda: WeightNormConv1d(4, 6, 5, padding=2), lambda: nn.Conv1d(4, 6, 5, padding=2), (2, 4, 11)),
    "dilated": (
        lambda: WeightNormConv1d(4, 4, 3, padding=3, dilation=3),
        lambda: nn.Conv1d(4, 4, 3, padding=3, dilation=3),
        (2, 4, 11),
    ),
    "grouped": (
        lambda: WeightNormConv1d(4, 8, 7, stride=2, padding=3, groups=2),
        lambda: nn.Conv1d(4, 8, 7, stride=2, padding=3, groups=2),
        (2, 4, 11),
    ),
    "transposed": (
        lambda: WeightNormConvTranspose1d(4, 2, 8, 2, 3),
        lambda: nn.ConvTranspose1d(4, 2, 8, 2, 3),
        (2, 4, 11),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_equal_to_torchs(case):
    """Output, gradients, and the names and order of parameters are those of torch.nn.utils.weight_norm."""
    torch.manual_seed(0)
    ours, theirs = pair(CASES[case][0](), CASES[case][1]())
    x = torch.randn(CASES[case][2])
    assert [name for name, _ in ours.named_parameters()] == ["bias", "weight_g", "weight_v"]
    assert list(ours.state_dict()) == list(theirs.state_dict())
    torch.testing.assert_close(ours(x), theirs(x))
    ours(x).pow(2).sum().backward()
    theirs(x).pow(2).sum().backward()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("columns", [1, 2, 5])
def test_columns_lying_down_are_the_same_convolution(columns):
    """A ColumnConv on `[B, C, columns, H]` is torch's Conv2d on `[B, C, H, columns]`, gradients included."""
    torch.manual_seed(0)
    ours, theirs = pair(WeightNormColumnConv(3, 4, 5, 3, 2), nn.Conv2d(3, 4, (5, 1), (3, 1), (2, 0)))
    x = torch.randn(2, 3, 14, columns)
    torch.testing.assert_close(ours(x.transpose(2, 3)).transpose(2, 3), theirs(x))
    ours(x.transpose(2, 3)).pow(2).sum().backward()
    theirs(x).pow(2).sum().backward()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-4)


def test_fresh_weight_is_torchs_default():
    """A new layer computes what the plain convolution with the same seed does."""
    torch.manual_seed(3)
    ours = WeightNormConv1d(4, 6, 5)
    torch.manual_seed(3)
    plain = nn.Conv1d(4, 6, 5)
    torch.testing.assert_close(ours.effective_weight(), plain.weight)
    assert torch.equal(ours.bias, plain.bias)


def test_bound_layer_computes_its_weight_once():
    """A bound layer gives the same output and gradients over two calls as two plain calls."""
    torch.manual_seed(0)
    layer = WeightNormConv1d(3, 4, 3)
    x, y = torch.randn(2, 1, 3, 9)
    calls = []
    compute = layer.effective_weight
    layer.effective_weight = lambda: calls.append(1) or compute()
    bound = layer.bound()
    (bound(x) * bound(y)).sum().backward()
    assert len(calls) == 1
    shared = layer.weight_v.grad.clone()
    layer.zero_grad()
    (layer(x) * layer(y)).sum().backward()
    assert len(calls) == 3
    torch.testing.assert_close(layer.weight_v.grad, shared)
