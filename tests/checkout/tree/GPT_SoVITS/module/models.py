"""The networks of the miniature tree; `ERA` says how a class treats its quantizer.

`requires-grad`: the constructor turns gradients off, as until May 2024. `fixed`: eval mode at every forward. `broken`:
the same, but not to freeze raises a TypeError, since `nullcontext` is not called. The classes of v3, which learn a
flow, compute without gradients besides, whatever the era.
"""

# ruff: noqa: ARG002 - the signatures are those of a real tree

import contextlib
import random

import torch
import utils
from text import symbols
from torch import nn
from torch.nn import functional

from module import quantize

ERA = "fixed"
SSL, BOOK, INTER, HOP, MEL = 24, 32, 4, 64, 10
assert utils.WHOSE == "the miniature tree's"


class TextEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.text_embedding = nn.Embedding(len(symbols), INTER)
        self.encoder_text = nn.Linear(INTER, INTER)
        self.mrte = nn.Linear(INTER, INTER)
        self.proj = nn.Conv1d(SSL, 2 * INTER, 1)

    def forward(self, quantized, text):
        about = self.mrte(self.encoder_text(self.text_embedding(text))).mean(1)
        return (self.proj(quantized) + about.repeat(1, 2)[:, :, None]).chunk(2, 1)


class SynthesizerTrn(nn.Module):
    def __init__(self, spec_channels, segment_size, n_speakers=0, *, freeze_quantizer=None, version="v2", **unused):
        super().__init__()
        self.segment_size, self.freeze_quantizer, self.version = segment_size, freeze_quantizer, version
        self.enc_p = TextEncoder()
        self.enc_q = nn.Conv1d(spec_channels, 2 * INTER, 1)
        self.dec = nn.ConvTranspose1d(INTER, 1, HOP, HOP)
        self.ssl_proj = nn.Conv1d(SSL, SSL, 2, stride=2)
        self.quantizer = quantize.ResidualVectorQuantizer(dimension=SSL, bins=BOOK)
        if ERA == "requires-grad" and freeze_quantizer:
            self.ssl_proj.requires_grad_(False)
            self.quantizer.requires_grad_(False)

    def forward(self, ssl, y, y_lengths, text, text_lengths):
        if ERA != "requires-grad":
            unfrozen = contextlib.nullcontext if ERA == "broken" else contextlib.nullcontext()
            with torch.no_grad() if self.freeze_quantizer else unfrozen:
                if self.freeze_quantizer:
                    self.ssl_proj.eval()
                    self.quantizer.eval()
        quantized, _, commit_loss, _ = self.quantizer(self.ssl_proj(ssl), layers=[0])
        quantized = functional.interpolate(quantized, size=2 * quantized.shape[-1], mode="nearest")
        m_p, logs_p = self.enc_p(quantized, text)
        m_q, logs_q = self.enc_q(y).chunk(2, 1)
        z = m_q + torch.randn_like(m_q) * logs_q.exp()
        mask = torch.ones_like(z[:, :1])
        ids = (torch.rand(len(z)) * (y_lengths.cpu() - self.segment_size + 1)).long().to(z.device)
        piece = torch.stack([row[:, i : i + self.segment_size] for row, i in zip(z, ids)])  # noqa: B905 - a tree runs on Python 3.9
        return self.dec(piece).tanh(), commit_loss, ids, mask, mask, (z, z, m_p, logs_p, m_q, logs_q), quantized


class Attention(nn.Module):
    """Has the linear layers that LoRA training adapts."""

    def __init__(self):
        super().__init__()
        self.to_q, self.to_k, self.to_v = (nn.Linear(2 * INTER, 2 * INTER) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(2 * INTER, 2 * INTER), nn.Identity()])

    def forward(self, x):
        shares = (self.to_q(x) @ self.to_k(x).transpose(1, 2)).softmax(-1)
        return x + self.to_out[1](self.to_out[0](shares @ self.to_v(x)))


class Flow(nn.Module):
    """Learns the velocity from noise to mel, given what the text encoder knows of each frame."""

    def __init__(self):
        super().__init__()
        self.attn = Attention()
        self.velocity = nn.Conv1d(MEL + 2 * INTER, MEL, 3, padding=1)

    def forward(self, mel, about):
        noise, time = torch.randn_like(mel), random.random()
        about = self.attn(about.transpose(1, 2)).transpose(1, 2)
        velocity = self.velocity(torch.cat([noise + time * (mel - noise), about], 1))
        return functional.mse_loss(velocity, mel - noise)


class SynthesizerTrnV3(nn.Module):
    """Its frames of mel are 1.875 (v3) or 2 (v4) for each frame of the spectrogram; forward returns the loss alone."""

    RETURNS_BOTH = False

    def __init__(self, spec_channels, segment_size, n_speakers=0, *, freeze_quantizer=None, version="v3", **unused):
        super().__init__()
        self.freeze_quantizer, self.version = freeze_quantizer, version
        self.enc_p = TextEncoder()
        self.ssl_proj = nn.Conv1d(SSL, SSL, 2, stride=2)
        self.quantizer = quantize.ResidualVectorQuantizer(dimension=SSL, bins=BOOK)
        self.bridge, self.wns1 = (nn.Conv1d(2 * INTER, 2 * INTER, 1) for _ in range(2))
        self.linear_mel = nn.Conv1d(2 * INTER, MEL, 1)
        self.cfm = Flow()
        if freeze_quantizer:
            for part in (self.ssl_proj, self.quantizer, self.enc_p):
                part.requires_grad_(False)

    def forward(self, ssl, y, mel, ssl_lengths, y_lengths, text, text_lengths, mel_lengths, use_grad_ckpt):
        assert mel.abs().max() <= 1
        frames = int(ssl.shape[2] * {"v3": 1.875, "v4": 2}[self.version])
        assert mel.shape[:2] == (len(y), MEL)
        assert mel_lengths.max() <= frames <= mel.shape[2]
        mel = mel[:, :, :frames]
        with torch.no_grad():
            if self.freeze_quantizer and ERA != "requires-grad":
                self.ssl_proj.eval()
                self.quantizer.eval()
            coded, _, commit_loss, _ = self.quantizer(self.ssl_proj(ssl), layers=[0])
            quantized = functional.interpolate(coded, scale_factor=2, mode="nearest")
            about = torch.cat(self.enc_p(quantized, text), 1)
        loss = self.cfm(mel, self.wns1(functional.interpolate(self.bridge(about), size=mel.shape[2])))
        return (commit_loss, loss) if self.RETURNS_BOTH else loss


class SynthesizerTrnV3b(SynthesizerTrnV3):
    """Returns the commit loss too, asks for no switch, and knows no version."""

    RETURNS_BOTH = True

    def __init__(self, spec_channels, segment_size, n_speakers=0, *, freeze_quantizer=None, **unused):
        super().__init__(spec_channels, segment_size, n_speakers, freeze_quantizer=freeze_quantizer)

    def forward(self, ssl, y, mel, ssl_lengths, y_lengths, text, text_lengths, mel_lengths):
        return super().forward(ssl, y, mel, ssl_lengths, y_lengths, text, text_lengths, mel_lengths, False)


class MultiPeriodDiscriminator(nn.Module):
    def __init__(self, use_spectral_norm=False, version="v2"):
        super().__init__()
        self.conv = nn.Conv1d(1, 2, 16, 8)

    def forward(self, y, y_hat):
        maps = [[self.conv(wave)] for wave in (y, y_hat)]
        logits = [[each[0].flatten(1)] for each in maps]
        return logits[0], logits[1], [maps[0]], [maps[1]]
