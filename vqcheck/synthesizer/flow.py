"""The normalizing flow of VITS (Kim et al. 2021): mean-only coupling layers between posterior and prior."""

import torch
from torch import Tensor, nn

from vqcheck.synthesizer.checks import paired
from vqcheck.synthesizer.segments import sequence_mask
from vqcheck.synthesizer.weight_norm import WeightNormConv1d


class Coupling(nn.Module):
    """Shifts one half of the channels by a function of the other half, so it can be undone exactly."""

    def __init__(self, channels: int, hidden_channels: int, gin_channels: int, n_layers: int) -> None:
        super().__init__()
        self.pre = nn.Conv1d(channels // 2, hidden_channels, 1)
        self.enc = WaveNet(hidden_channels, gin_channels, n_layers)
        self.post = nn.Conv1d(hidden_channels, channels // 2, 1)
        # zero: the layer starts as the identity
        nn.init.zeros_(self.post.weight)
        assert self.post.bias is not None
        nn.init.zeros_(self.post.bias)

    def forward(self, x: Tensor, mask: Tensor, g: Tensor, reverse: bool) -> Tensor:
        """Return `[B, C, T]`; `reverse` undoes it."""
        kept, moved = x.chunk(2, dim=1)
        shift = self.post(self.enc(self.pre(kept) * mask, mask, g)) * mask
        moved = (moved - shift) * mask if reverse else shift + moved * mask
        return torch.cat((kept, moved), dim=1)


class Flip(nn.Module):
    """Reverses the channels, so that the next coupling moves the half that this one kept."""

    def forward(self, x: Tensor, mask: Tensor, g: Tensor, reverse: bool) -> Tensor:  # noqa: ARG002 - as Coupling
        """Return `[B, C, T]`."""
        return x.flip(1)


class CouplingFlow(nn.Module):
    """Pairs of Coupling and Flip."""

    def __init__(self, channels: int, hidden_channels: int, gin_channels: int, n_layers: int, n_flows: int) -> None:
        super().__init__()
        self.flows = nn.ModuleList()
        for _ in range(n_flows):
            self.flows.append(Coupling(channels, hidden_channels, gin_channels, n_layers))
            self.flows.append(Flip())

    def forward(self, x: Tensor, mask: Tensor, g: Tensor, reverse: bool = False) -> Tensor:
        """Map `[B, C, T]` from posterior to prior, or back with `reverse`."""
        for flow in reversed(self.flows) if reverse else self.flows:
            x = flow(x, mask, g, reverse)
        return x


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


class WaveNet(nn.Module):
    """Residual layers of a gated convolution, each conditioned on the speaker; the skip outputs are summed."""

    def __init__(self, channels: int, gin_channels: int, n_layers: int, kernel: int = 5) -> None:
        super().__init__()
        last = n_layers - 1
        self.in_layers = nn.ModuleList(
            WeightNormConv1d(channels, 2 * channels, kernel, padding=kernel // 2) for _ in range(n_layers)
        )
        self.res_skip_layers = nn.ModuleList(
            WeightNormConv1d(channels, channels if layer == last else 2 * channels, 1) for layer in range(n_layers)
        )
        self.cond_layer = WeightNormConv1d(gin_channels, 2 * channels * n_layers, 1)

    def forward(self, x: Tensor, mask: Tensor, g: Tensor) -> Tensor:
        """Return `[B, C, T]` from x `[B, C, T]`, mask `[B, 1, T]` and speaker g `[B, gin, 1]`."""
        conditions = self.cond_layer(g).chunk(len(self.in_layers), dim=1)
        skipped = []
        for layer, (convolve, split) in enumerate(paired(self.in_layers, self.res_skip_layers)):
            content, gate = (convolve(x) + conditions[layer]).chunk(2, dim=1)
            result = split(torch.tanh(content) * torch.sigmoid(gate))
            if layer < len(self.in_layers) - 1:
                residual, result = result.chunk(2, dim=1)
                x = (x + residual) * mask
            skipped.append(result)
        total: Tensor = sum(skipped[1:], start=skipped[0])
        return total * mask
