"""The losses of the s2 step: least squares GAN, feature matching, mel distance and the KL term of VITS.

Inputs are widened to float32, because half precision cannot hold their sums.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from vqcheck.synthesizer.checks import paired
from vqcheck.synthesizer.errors import InputError

MEL_WEIGHT = 45.0


def discriminator_loss(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Return the discriminators' loss (Mao et al. 2017) from logits `[B, N]` for real and generated samples."""
    terms = [((1 - r.float()) ** 2).mean() + (f.float() ** 2).mean() for r, f in paired(real, fake)]
    return torch.stack(terms).sum()


def generator_loss(fake: Sequence[Tensor]) -> Tensor:
    """Return the generator's adversarial loss from the discriminators' logits `[B, N]`."""
    return torch.stack([((1 - f.float()) ** 2).mean() for f in fake]).sum()


def feature_loss(real: Sequence[Sequence[Tensor]], fake: Sequence[Sequence[Tensor]]) -> Tensor:
    """Return twice the summed mean distance of all feature maps (HiFi-GAN); no gradient reaches the real ones."""
    terms = [
        functional.l1_loss(g.float(), r.detach().float())
        for real_maps, fake_maps in paired(real, fake)
        for r, g in paired(real_maps, fake_maps)
    ]
    return 2 * torch.stack(terms).sum()


def mel_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return 45 times the mean distance of two log mel spectrograms `[B, mels, T]`.

    Raises InputError if their shapes differ; torch would stretch one to the other.
    """
    if real.shape != fake.shape:
        raise InputError(f"fake: expected shape {list(real.shape)} as real, given {list(fake.shape)}")
    return MEL_WEIGHT * functional.l1_loss(real.float(), fake.float())


def kl_loss(z_p: Tensor, logs_q: Tensor, m_p: Tensor, logs_p: Tensor, mask: Tensor) -> Tensor:
    """Return the KL divergence of posterior and prior (VITS, equation 4), summed over channels, a mean over frames.

    All tensors are `[B, C, T]`, the mask `[B, 1, T]`.
    """
    z_p, logs_q, m_p, logs_p, mask = (tensor.float() for tensor in (z_p, logs_q, m_p, logs_p, mask))
    divergence = logs_p - logs_q - 0.5 + 0.5 * (z_p - m_p) ** 2 * torch.exp(-2 * logs_p)
    return (divergence * mask).sum() / mask.sum()
