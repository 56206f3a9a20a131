"""The losses against values worked out by hand."""

import math

import pytest
import torch

from vqcheck.synthesizer import (
    InputError,
    discriminator_loss,
    feature_loss,
    generator_loss,
    kl_loss,
    mel_loss,
)


def test_discriminator_loss():
    """Each discriminator adds the mean square of what real logits lack to 1 and of what fake ones exceed 0."""
    real = [torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0]])]
    fake = [torch.tensor([[0.0, 1.0]]), torch.tensor([[3.0]])]
    assert float(discriminator_loss(real, fake)) == (0.5 + 0.5) + (1 + 9)


def test_generator_loss():
    """Each discriminator adds the mean square of what fake logits lack to 1."""
    assert float(generator_loss([torch.tensor([[0.0, 1.0]]), torch.tensor([[3.0]])])) == 0.5 + 4


def test_feature_loss():
    """Every feature map of every discriminator adds twice its mean distance; only the fake side gets a gradient."""
    real = [[torch.tensor([1.0, 1.0]), torch.tensor([4.0])], [torch.tensor([0.0])]]
    fake = [[torch.tensor([0.0, 2.0]), torch.tensor([1.0])], [torch.tensor([5.0])]]
    for maps in (*real, *fake):
        for each in maps:
            each.requires_grad_()
    loss = feature_loss(real, fake)
    assert float(loss.detach()) == 2 * (1 + 3 + 5)
    loss.backward()
    assert all(each.grad is None for maps in real for each in maps)
    assert all(each.grad is not None for maps in fake for each in maps)


def test_mel_loss():
    """The mean distance of mels counts 45 times; mels of different shapes are refused instead of stretched."""
    assert float(mel_loss(torch.zeros(1, 2, 3), torch.full((1, 2, 3), 2.0))) == 90
    with pytest.raises(InputError, match=r"fake: expected shape \[1, 2, 3\] as real, given \[1, 2, 1\]"):
        mel_loss(torch.zeros(1, 2, 3), torch.zeros(1, 2, 1))


def test_kl_loss():
    """The divergence is summed over channels and averaged over the unmasked frames only."""
    z_p, m_p = torch.full((1, 2, 3), 3.0), torch.full((1, 2, 3), 1.0)
    logs_p, logs_q = torch.full((1, 2, 3), math.log(2)), torch.zeros(1, 2, 3)
    z_p[..., 2] = 1000
    mask = torch.tensor([[[1.0, 1.0, 0.0]]])
    each = math.log(2) - 0.5 + 0.5 * 4 / 4
    assert float(kl_loss(z_p, logs_q, m_p, logs_p, mask)) == pytest.approx(2 * each)


def test_half_precision_is_widened():
    """Sums that half precision cannot hold come out finite."""
    big = torch.full((1, 1000), 60000.0, dtype=torch.float16)
    assert torch.isfinite(generator_loss([big]))
    assert generator_loss([big]).dtype == torch.float32
    assert torch.isfinite(mel_loss(big[None], -big[None]))
