"""The discriminators: what they return, and that saving work in the generator's step changes no result."""

import pytest
import torch

from vqcheck.synthesizer import MultiPeriodDiscriminator, feature_loss, generator_loss


@pytest.mark.parametrize(("version", "periods"), [("v2", [2, 3, 5, 7, 11]), ("v2Pro", [2, 3, 5, 7, 11, 17, 23])])
def test_what_is_returned(version, periods):
    """Each sub-discriminator gives flat logits, six or seven feature maps, and the logits map as the last of them."""
    model = MultiPeriodDiscriminator(version=version, narrowing=32)
    y, y_hat = torch.randn(2, 2, 1, 700)
    real, fake, real_maps, fake_maps = model(y, y_hat)
    assert len(real) == len(fake) == 1 + len(periods)
    assert [len(maps) for maps in real_maps] == [len(maps) for maps in fake_maps] == [7] + [6] * len(periods)
    for logits, maps in zip(real, real_maps, strict=True):
        assert torch.equal(logits, maps[-1].flatten(1))
    for period, maps in zip(periods, real_maps[1:], strict=True):
        rows = -(-700 // period)
        assert maps[0].shape == (2, 1, -(-rows // 3), period)


def test_real_and_fake_are_judged_alike():
    """The same samples get the same logits on either side, alone or together."""
    torch.manual_seed(0)
    model = MultiPeriodDiscriminator(narrowing=32)
    y, y_hat = torch.randn(2, 1, 1, 640)
    real, fake, *_ = model(y, y_hat)
    swapped_real, swapped_fake, *_ = model(y_hat, y)
    for one, other in zip([*real, *fake], [*swapped_fake, *swapped_real], strict=True):
        assert torch.equal(one, other)


def test_without_weight_gradients_the_generator_learns_the_same():
    """Switching off the discriminator's weight gradients gives the generator's samples the very same gradient."""
    torch.manual_seed(0)
    model = MultiPeriodDiscriminator(narrowing=32)
    y, y_hat = torch.randn(2, 2, 1, 640)
    gradients = []
    for wanted in (True, False):
        samples = y_hat.clone().requires_grad_()
        model.requires_grad_(wanted)
        _, fake, real_maps, fake_maps = model(y, samples)
        (generator_loss(fake) + feature_loss(real_maps, fake_maps)).backward()
        gradients.append(samples.grad)
    torch.testing.assert_close(gradients[0], gradients[1])
    assert gradients[0].abs().max() > 0
