"""The reference encoder (Meta-StyleSpeech, Min et al. 2021): a spectrogram to one vector for the speaker."""

import math

from torch import Tensor, nn
from torch.nn import functional


class NamedLinear(nn.Module):
    """A Linear under the name `fc`, as checkpoints have it."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.fc = nn.Linear(in_features, out_features)

    def forward(self, x: Tensor) -> Tensor:
        """Return `[..., out]`."""
        output: Tensor = self.fc(x)
        return output


class NamedConv(nn.Module):
    """A Conv1d under the name `conv`, as checkpoints have it."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(in_channels, out_channels, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return `[B, out, T]`."""
        output: Tensor = self.conv(x)
        return output


class GatedConv(nn.Module):
    """A gated convolution with a residual sum."""

    def __init__(self, channels: int, kernel: int, p_dropout: float) -> None:
        super().__init__()
        self.conv1 = NamedConv(channels, 2 * channels, kernel)
        self.drop = nn.Dropout(p_dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return `[B, C, T]`."""
        output: Tensor = x + self.drop(functional.glu(self.conv1(x), dim=1))
        return output


class StyleAttention(nn.Module):
    """Self-attention over `[B, T, C]` with a residual sum and no norm."""

    def __init__(self, channels: int, n_heads: int, p_dropout: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.temperature = math.sqrt(channels)  # of the model, not of a head: so the weights were trained
        self.w_qs = nn.Linear(channels, channels)
        self.w_ks = nn.Linear(channels, channels)
        self.w_vs = nn.Linear(channels, channels)
        self.fc = nn.Linear(channels, channels)
        self.drop_weights = nn.Dropout(p_dropout)
        self.drop = nn.Dropout(p_dropout)

    def forward(self, x: Tensor, padded: Tensor) -> Tensor:
        """Return `[B, T, C]`; `padded` `[B, T]` is True on frames that no frame may see."""
        query, key, value = (
            linear(x).view(*x.shape[:2], self.n_heads, -1).permute(2, 0, 1, 3)  # [heads, B, T, C / heads]
            for linear in (self.w_qs, self.w_ks, self.w_vs)
        )
        scores = (query @ key.transpose(-2, -1)) / self.temperature
        scores = scores.masked_fill(padded[None, :, None, :], -math.inf)
        weights = self.drop_weights(scores.softmax(dim=-1))
        attended = (weights @ value).permute(1, 2, 0, 3).flatten(-2)
        output: Tensor = self.drop(self.fc(attended)) + x
        return output


class MelStyleEncoder(nn.Module):
    """Spectral layers on each frame, gated convolutions over time, self-attention, then the mean over time."""

    def __init__(
        self,
        in_channels: int,
        hidden: int,
        out_channels: int,
        kernel: int = 5,
        n_heads: int = 2,
        p_dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.spectral = nn.Sequential(
            NamedLinear(in_channels, hidden),
            nn.Mish(),
            nn.Dropout(p_dropout),
            NamedLinear(hidden, hidden),
            nn.Mish(),
            nn.Dropout(p_dropout),
        )
        self.temporal = nn.Sequential(GatedConv(hidden, kernel, p_dropout), GatedConv(hidden, kernel, p_dropout))
        self.slf_attn = StyleAttention(hidden, n_heads, p_dropout)
        self.fc = NamedLinear(hidden, out_channels)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return `[B, out, 1]` from a spectrogram x `[B, bins, T]` and its mask `[B, 1, T]`."""
        padded = mask[:, 0] == 0
        x = self.spectral(x.transpose(1, 2))
        # contiguous before each dropout: on a CPU its mask is drawn in memory order
        x = self.temporal(x.transpose(1, 2).contiguous()).transpose(1, 2)
        x = x.masked_fill(padded.unsqueeze(-1), 0)
        x = self.fc(self.slf_attn(x, padded))
        x = x.masked_fill(padded.unsqueeze(-1), 0)
        valid = (~padded).sum(dim=1)[:, None, None]
        mean = (x.float() / valid).sum(dim=1)
        return mean.to(x.dtype).unsqueeze(-1)
