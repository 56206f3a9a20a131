"""The posterior encoder of VITS (Kim et al. 2021): linear spectrogram to latent."""

import torch
from torch import Tensor, nn

from vqcheck.synthesizer.masks import sequence_mask
from vqcheck.synthesizer.wavenet import WaveNet


class PosteriorEncoder(nn.Module):
    """Draws the latent z of a spectrogram."""

    def __init__(
        self, spec_channels: int, out_channels: int, hidden_channels: int, gin_channels: int, n_layers: int
    ) -> None:
        super().__init__()
        self.pre = nn.Conv1d(spec_channels, hidden_channels, 1)
        self.enc = WaveNet(hidden_channels, gin_channels, n_layers)
        self.proj = nn.Conv1d(hidden_channels, 2 * out_channels, 1)

    def forward(self, spec: Tensor, lengths: Tensor, g: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return (z, m, logs) `[B, out, T]` and the mask `[B, 1, T]`.  No gradient reaches the speaker vector g."""
        mask = sequence_mask(lengths, spec.size(2), spec.dtype)
        hidden = self.enc(self.pre(spec) * mask, mask, g.detach())
        m, logs = torch.chunk(self.proj(hidden) * mask, 2, dim=1)
        z = (m + torch.randn_like(m) * torch.exp(logs)) * mask
        return z, m, logs, mask
