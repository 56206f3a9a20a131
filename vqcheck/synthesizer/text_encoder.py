"""The prior: semantic features and phoneme text, joined by cross-attention, give mean and scale of the latent."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from vqcheck.synthesizer.attention import AttentionEncoder, MultiHeadAttention
from vqcheck.synthesizer.errors import InputError
from vqcheck.synthesizer.segments import sequence_mask


class TextCrossAttention(nn.Module):
    """Semantic frames look up the text they belong to; the speaker's vector is added in between (upstream: MRTE)."""

    def __init__(self, channels: int, hidden: int, n_heads: int) -> None:
        super().__init__()
        self.cross_attention = MultiHeadAttention(hidden, n_heads)
        self.c_pre = nn.Conv1d(channels, hidden, 1)
        self.text_pre = nn.Conv1d(channels, hidden, 1)
        self.c_post = nn.Conv1d(hidden, channels, 1)

    def forward(self, ssl: Tensor, ssl_mask: Tensor, text: Tensor, text_mask: Tensor, ge: Tensor | None) -> Tensor:
        """Return `[B, C, T]` from ssl `[B, C, T]`, text `[B, C, L]`, both masked, and speaker ge `[B, hidden, 1]`."""
        pairs = text_mask.unsqueeze(2) * ssl_mask.unsqueeze(-1)
        frames = self.c_pre(ssl)
        words = self.text_pre(text)
        x = self.cross_attention(frames * ssl_mask, words * text_mask, pairs) + frames
        if ge is not None:
            x = x + ge
        output: Tensor = self.c_post(x * ssl_mask)
        return output


@dataclass(frozen=True)
class Window:
    """The part of a growing sequence that is decoded next; its context is encoded all the same.  Sizes in frames."""

    newest: int | None = None
    """How many of the last frames are decoded; None for all."""
    padding: int = 0
    """How many frames at the end were only appended: they are dropped once they have been seen."""
    overlap: Tensor | None = None
    """`[1, C, F]`: what stood in the first F of these frames before, which is faded out."""

    def unpadded(self, x: Tensor) -> Tensor:
        """Return `[B, C, T]` without the padding."""
        return x[..., : x.size(-1) - self.padding]

    def cut(self, x: Tensor) -> Tensor:
        """Return the newest frames of `[B, C, T]`."""
        return x if self.newest is None else x[..., -self.newest :]

    def faded(self, x: Tensor) -> Tensor:
        """Return `[B, C, T]` with the overlap fading out as a cosine where x fades in as a sine."""
        if self.overlap is None:
            return x
        frames = self.overlap.size(-1)
        if self.overlap.shape[:2] != x.shape[:2] or frames > x.size(-1):
            raise InputError(
                f"overlap_frames: expected shape [{x.size(0)}, {x.size(1)}, F] with at most {x.size(-1)} frames, "
                f"given {list(self.overlap.shape)}"
            )
        turns = torch.arange(frames, device=x.device) * (math.pi / 2 / max(frames, 1))
        joined = turns.sin().to(x.dtype) * x[..., :frames] + turns.cos().to(x.dtype) * self.overlap
        return torch.cat((joined, x[..., frames:]), dim=-1)


WHOLE = Window()


def window_of_codes(
    n_codes: int, frames: int, newest: int | None, padding: int | None, overlap: Tensor | None
) -> Window:
    """Return the window of so many codes of so many frames each; raises InputError where it would be empty."""
    if newest is not None and newest < 1:
        raise InputError(f"result_length: expected at least 1 code, given {newest}")
    if not 0 <= (padding or 0) < n_codes:
        raise InputError(f"padding_length: expected fewer than the {n_codes} codes, given {padding}")
    return Window(None if newest is None else newest * frames, (padding or 0) * frames, overlap)


class TextEncoder(nn.Module):
    """Encoder of quantized semantic features and text to the prior's mean and log scale."""

    def __init__(
        self,
        out_channels: int,
        hidden_channels: int,
        filter_channels: int,
        n_heads: int,
        n_layers: int,
        kernel_size: int,
        p_dropout: float,
        ssl_dim: int,
        n_symbols: int,
        mrte_hidden: int,
        mrte_heads: int,
    ) -> None:
        super().__init__()
        sizes = (hidden_channels, filter_channels, n_heads)
        self.ssl_proj = nn.Conv1d(ssl_dim, hidden_channels, 1)
        self.encoder_ssl = AttentionEncoder(*sizes, n_layers // 2, kernel_size, p_dropout)
        self.encoder_text = AttentionEncoder(*sizes, n_layers, kernel_size, p_dropout)
        self.text_embedding = nn.Embedding(n_symbols, hidden_channels)
        self.mrte = TextCrossAttention(hidden_channels, mrte_hidden, mrte_heads)
        self.encoder2 = AttentionEncoder(*sizes, n_layers // 2, kernel_size, p_dropout)
        self.proj = nn.Conv1d(hidden_channels, 2 * out_channels, 1)

    def forward(
        self,
        y: Tensor,
        y_lengths: Tensor,
        text: Tensor,
        text_lengths: Tensor,
        ge: Tensor | None,
        speed: float = 1,
        window: Window = WHOLE,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return (y, m, logs, mask, y before the change of speed, mask before it).

        y `[B, ssl_dim, T]` are quantized features at the spectrogram's frame rate, text `[B, L]` symbol ids.  m and
        logs are `[B, out, T']`, with T' = T at speed 1 and int(T / speed) + 1 at any other.  Of a window T are its
        frames.
        """
        mask = sequence_mask(y_lengths, y.size(2), y.dtype)
        y = self.encoder_ssl(self.ssl_proj(y * mask), mask)
        text_mask = sequence_mask(text_lengths, text.size(1), y.dtype)
        words = self.encoder_text(self.text_embedding(text).transpose(1, 2), text_mask)
        y = self.mrte(y, mask, words, text_mask, ge)
        y, mask = window.unpadded(y), window.unpadded(mask)
        y = self.encoder2(y, mask)
        y, mask = window.faded(window.cut(y)), window.cut(mask)
        unhurried, unhurried_mask = y, mask
        if speed != 1:
            frames = int(y.size(-1) / speed) + 1
            y = functional.interpolate(y, size=frames, mode="linear")
            mask = functional.interpolate(mask, size=frames, mode="nearest")
        m, logs = torch.chunk(self.proj(y) * mask, 2, dim=1)
        return y, m, logs, mask, unhurried, unhurried_mask
