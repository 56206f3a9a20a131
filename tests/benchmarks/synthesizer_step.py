"""How long one generator and discriminator step takes, against the same graph built of torch's own modules.

The formulations take turns within one run; what counts is the ratio of the medians, not the seconds.
Their total losses stand beside it: they must be the same computation.
"""

import copy
import time
import warnings

import torch
from results import SECONDS, Figure, Measured
from torch import nn
from torch.nn import functional

from vqcheck.synthesizer import attention as attention_module
from vqcheck.synthesizer import (
    discriminator_loss,
    feature_loss,
    generator_loss,
    kl_loss,
    linear_spectrogram,
    mel_loss,
    mel_spectrogram,
    preset,
    slice_segments,
    spec_to_mel,
)
from vqcheck.synthesizer.discriminator import PeriodDiscriminator
from vqcheck.synthesizer.weight_norm import WeightNormColumnConv, WeightNormConv1d, WeightNormConvTranspose1d

FRAMES, BATCH, WORDS = 64, 2, 12
THREADS = 2


def steps(preset_name, samples):
    """Return the figure of steps of one preset."""
    torch.set_num_threads(THREADS)
    warnings.filterwarnings("ignore", "`torch.nn.utils.weight_norm` is deprecated", FutureWarning)
    torch.manual_seed(0)
    chosen = preset(preset_name)
    generator, discriminator = chosen.synthesizer(), chosen.multi_period_discriminator()
    batch = random_batch(chosen, generator)
    generator.initialise_codebook(torch.randn(8, batch["ssl"].size(1), 400))
    ours = (generator.train(), discriminator.train())
    plain = (
        plain_convolutions(copy.deepcopy(generator)),
        plain_periods(plain_convolutions(copy.deepcopy(discriminator))),
    )
    arms = {
        "ours": Step(chosen, *copy.deepcopy(ours), batch, train_discriminator_twice=False),
        "ours, the discriminator's weight gradients left on": Step(
            chosen, *ours, batch, train_discriminator_twice=True
        ),
        "plain": Step(chosen, *plain, batch, train_discriminator_twice=True),
    }
    originals = attention_module.band_to_matrix, attention_module.matrix_to_band
    seconds = {name: [] for name in arms}
    losses = {}
    for sample in range(samples + 1):
        for name, step in arms.items():
            tables = (table_to_matrix, matrix_to_table) if name == "plain" else originals
            attention_module.band_to_matrix, attention_module.matrix_to_band = tables
            torch.manual_seed(sample)
            begun = time.perf_counter()
            loss = step()
            if sample == 0:  # the first step warms up, and must be the same computation in all of them
                losses[name] = loss
            else:
                seconds[name].append(time.perf_counter() - begun)
    attention_module.band_to_matrix, attention_module.matrix_to_band = originals
    mine, rival, other = (Measured(name, tuple(values)) for name, values in seconds.items())
    note = f"{THREADS} threads; total losses " + ", ".join(f"{loss:.4f}" for loss in losses.values())
    return Figure("synthesizer", f"{preset_name} training step", SECONDS, mine, (other, rival), None, note)


class Step:
    """One training step of both networks with their optimizers."""

    def __init__(self, chosen, generator, discriminator, batch, *, train_discriminator_twice):
        self.generator, self.discriminator, self.batch = generator, discriminator, batch
        self.settings, self.segment = chosen.spectrogram, chosen.segment_size
        self.twice = train_discriminator_twice
        self.optim_g = torch.optim.AdamW(generator.parameters(), 1e-4, betas=(0.8, 0.99), eps=1e-9)
        self.optim_d = torch.optim.AdamW(discriminator.parameters(), 1e-4, betas=(0.8, 0.99), eps=1e-9)

    def __call__(self):
        batch, hop = self.batch, self.settings.hop_length
        o, commit_loss, ids, _, mask, latents, _ = self.generator(
            *(batch[name] for name in ("ssl", "spec", "spec_lengths", "text", "text_lengths", "sv_emb"))
        )
        _, z_p, m_p, logs_p, _, logs_q = latents
        y = slice_segments(batch["wav"], ids * hop, self.segment * hop)
        y_mel = slice_segments(spec_to_mel(batch["spec"], self.settings), ids, self.segment)

        loss_d = discriminator_loss(*self.discriminator(y, o.detach())[:2])
        self.optim_d.zero_grad()
        loss_d.backward()
        self.optim_d.step()

        # gradients of the discriminator's weights would only be thrown away at its next zero_grad
        self.discriminator.requires_grad_(self.twice)
        _, fake, real_maps, fake_maps = self.discriminator(y, o)
        self.discriminator.requires_grad_(True)
        loss_g = (
            generator_loss(fake)
            + feature_loss(real_maps, fake_maps)
            + mel_loss(y_mel, mel_spectrogram(o.squeeze(1), self.settings))
            + commit_loss
            + kl_loss(z_p, logs_q, m_p, logs_p, mask)
        )
        self.optim_g.zero_grad()
        loss_g.backward()
        self.optim_g.step()
        return float(loss_d.detach() + loss_g.detach())


def random_batch(chosen, generator):
    wav = 0.1 * torch.randn(BATCH, 1, FRAMES * chosen.spectrogram.hop_length)
    lengths = torch.tensor([FRAMES, FRAMES - 10])
    return {
        "wav": wav,
        "spec": linear_spectrogram(wav[:, 0], chosen.spectrogram),
        "spec_lengths": lengths,
        "ssl": torch.randn(BATCH, generator.ssl_proj.in_channels, FRAMES),
        "text": torch.randint(0, 300, (BATCH, WORDS)),
        "text_lengths": torch.tensor([WORDS, WORDS - 3]),
        "sv_emb": torch.randn(BATCH, generator.sv_emb.in_features) if generator.is_v2pro else None,
    }


def plain_convolutions(module):
    """Replace every weight-normed convolution by torch's own with torch.nn.utils.weight_norm."""
    classes = {
        WeightNormConv1d: nn.Conv1d,
        WeightNormColumnConv: nn.Conv2d,
        WeightNormConvTranspose1d: nn.ConvTranspose1d,
    }
    for name, child in module.named_children():
        kind = classes.get(type(child))
        if kind is None:
            plain_convolutions(child)
            continue
        conv = kind(
            child.in_channels,
            child.out_channels,
            child.kernel_size,
            child.stride,
            child.padding,
            groups=child.groups,
            dilation=child.dilation,
        )
        conv = nn.utils.weight_norm(conv)
        conv.load_state_dict(child.state_dict())
        setattr(module, name, conv)
    return module


def plain_periods(discriminator):
    """Fold the samples to `[B, 1, N / period, period]`, as a Conv2d with a (5, 1) kernel takes them."""
    for module in discriminator.modules():
        if isinstance(module, PeriodDiscriminator):
            lying = module.arrange
            module.arrange = lambda samples, lying=lying: lying(samples).transpose(2, 3).contiguous()
            module.restore = lambda features: features
    return discriminator


def table_to_matrix(band, window):
    """Place a band by an index for each entry of the matrix."""
    size = band.size(-2)
    distance = torch.arange(size)[None, :] - torch.arange(size)[:, None]
    inside = distance.abs() <= window
    index = (distance + window).clamp(0, 2 * window).expand(*band.shape[:-2], size, size)
    return band.gather(-1, index) * inside


def matrix_to_table(matrix, window):
    """Collect a band by an index for each of its entries."""
    size = matrix.size(-1)
    index = torch.arange(size)[:, None] + torch.arange(2 * window + 1)
    padded = functional.pad(matrix, (window, window))
    return padded.gather(-1, index.expand(*matrix.shape[:-2], size, 2 * window + 1))
