"""The gated convolution stack (van den Oord et al. 2016) inside the posterior and the flow."""

import torch
from torch import Tensor, nn

from vqcheck.synthesizer.checks import paired
from vqcheck.synthesizer.weight_norm import WeightNormConv1d


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
