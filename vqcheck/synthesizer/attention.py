"""Multi-head attention with a window of learned relative positions (Shaw et al. 2018), and the encoder built of it."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from vqcheck.synthesizer.checks import paired

MASKED_SCORE = -1e4  # finite, and in the range of half precision: fully masked rows become uniform and not NaN


class MultiHeadAttention(nn.Module):
    """Attention of `[B, C, T]` queries over `[B, C, S]` keys and values.

    With `window` w, positions at most w apart add a learned key and value vector, shared by the heads.
    """

    def __init__(self, channels: int, n_heads: int, p_dropout: float = 0.0, window: int | None = None) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.window = window
        if window is not None:
            head = channels // n_heads
            self.emb_rel_k = nn.Parameter(torch.randn(1, 2 * window + 1, head) * head**-0.5)
            self.emb_rel_v = nn.Parameter(torch.randn(1, 2 * window + 1, head) * head**-0.5)
        self.conv_q = nn.Conv1d(channels, channels, 1)
        self.conv_k = nn.Conv1d(channels, channels, 1)
        self.conv_v = nn.Conv1d(channels, channels, 1)
        self.conv_o = nn.Conv1d(channels, channels, 1)
        self.drop = nn.Dropout(p_dropout)
        for conv in (self.conv_q, self.conv_k, self.conv_v):
            nn.init.xavier_uniform_(conv.weight)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """Return `[B, C, T]`; `mask` `[B, 1, T, S]` is 0 where a query must not see a key."""
        query, key, value = (
            projected.view(x.size(0), self.n_heads, -1, projected.size(2)).transpose(2, 3)  # [B, heads, T, C / heads]
            for projected in self._projected(x, context)
        )
        query = query / math.sqrt(query.size(-1))
        scores = query @ key.transpose(-2, -1)
        if self.window is not None:
            scores = scores + band_to_matrix(query @ self.emb_rel_k[0].T, self.window)
        scores = scores.masked_fill(mask == 0, MASKED_SCORE)
        weights = self.drop(scores.softmax(dim=-1))
        attended = weights @ value
        if self.window is not None:
            attended = attended + matrix_to_band(weights, self.window) @ self.emb_rel_v[0]
        output: Tensor = self.conv_o(attended.transpose(2, 3).flatten(1, 2))
        return output

    def _projected(self, x: Tensor, context: Tensor) -> Iterable[Tensor]:
        """Return queries, keys and values `[B, C, T]`; of a sequence that attends to itself in one convolution."""
        if x is not context:
            return self.conv_q(x), self.conv_k(context), self.conv_v(context)
        layers = (self.conv_q, self.conv_k, self.conv_v)
        weight = torch.cat([layer.weight for layer in layers])
        bias = torch.cat([layer.bias for layer in layers if layer.bias is not None])
        return functional.conv1d(x, weight, bias).chunk(3, dim=1)


def band_to_matrix(band: Tensor, window: int) -> Tensor:
    """Lay `[..., T, 2w+1]` (row i, distance r-w) out as `[..., T, T]` with entry (i, i+r-w); elsewhere 0.

    Row i starts i places further right: rows padded to one more than the target's width and read again at that
    width shift by one each, so no index is needed.
    """
    size = band.size(-2)
    width = size + 2 * window
    flat = functional.pad(band, (0, size)).flatten(-2)
    shifted = flat[..., : size * width].reshape(*band.shape[:-1], width)
    return shifted[..., window : window + size]


def matrix_to_band(matrix: Tensor, window: int) -> Tensor:
    """Return the `[..., T, 2w+1]` band of `[..., T, T]`: entry (i, r) is matrix entry (i, i+r-w), 0 outside."""
    size = matrix.size(-1)
    flat = functional.pad(functional.pad(matrix, (window, window)).flatten(-2), (0, size))
    return flat.view(*matrix.shape[:-1], size + 2 * window + 1)[..., : 2 * window + 1]


class ChannelNorm(nn.Module):
    """Layer norm over the channels of `[B, C, T]`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return `[B, C, T]`."""
        channels = (x.size(1),)
        return functional.layer_norm(x.transpose(1, -1), channels, self.gamma, self.beta, 1e-5).transpose(1, -1)


class FeedForward(nn.Module):
    """Two convolutions over time with a ReLU between them."""

    def __init__(self, channels: int, filter_channels: int, kernel: int, p_dropout: float) -> None:
        super().__init__()
        self.conv_1 = nn.Conv1d(channels, filter_channels, kernel, padding="same")
        self.conv_2 = nn.Conv1d(filter_channels, channels, kernel, padding="same")
        self.drop = nn.Dropout(p_dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return `[B, C, T]`, 0 where `mask` `[B, 1, T]` is."""
        x = self.drop(torch.relu(self.conv_1(x * mask)))
        output: Tensor = self.conv_2(x * mask)
        return output * mask


class AttentionEncoder(nn.Module):
    """Layers of self-attention and feed-forward, each followed by a residual sum and a norm."""

    def __init__(
        self,
        channels: int,
        filter_channels: int,
        n_heads: int,
        n_layers: int,
        kernel: int,
        p_dropout: float,
        window: int = 4,
    ) -> None:
        super().__init__()
        layers = range(n_layers)
        self.drop = nn.Dropout(p_dropout)
        self.attn_layers = nn.ModuleList(MultiHeadAttention(channels, n_heads, p_dropout, window) for _ in layers)
        self.norm_layers_1 = nn.ModuleList(ChannelNorm(channels) for _ in layers)
        self.ffn_layers = nn.ModuleList(FeedForward(channels, filter_channels, kernel, p_dropout) for _ in layers)
        self.norm_layers_2 = nn.ModuleList(ChannelNorm(channels) for _ in layers)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Encode `[B, C, T]` under `mask` `[B, 1, T]`."""
        pairs = mask.unsqueeze(2) * mask.unsqueeze(-1)
        x = x * mask
        layers = paired(self.attn_layers, self.norm_layers_1, self.ffn_layers, self.norm_layers_2)
        for attend, norm_1, feed_forward, norm_2 in layers:
            x = norm_1(x + self.drop(attend(x, x, pairs)))
            x = norm_2(x + self.drop(feed_forward(x, mask)))
        return x * mask
