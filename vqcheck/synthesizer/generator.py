"""The waveform generator of HiFi-GAN (Kong et al. 2020): latent frames to samples."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from vqcheck.synthesizer.checks import paired
from vqcheck.synthesizer.weight_norm import WeightNormConv1d, WeightNormConvTranspose1d

SLOPE = 0.1
LAST_SLOPE = 0.01


class ResidualBlock(nn.Module):
    """Pairs of a dilated and a plain convolution, each pair with a residual sum."""

    def __init__(self, channels: int, kernel: int, dilations: Sequence[int]) -> None:
        super().__init__()
        half = (kernel - 1) // 2
        self.convs1 = nn.ModuleList(
            WeightNormConv1d(channels, channels, kernel, padding=half * dilation, dilation=dilation)
            for dilation in dilations
        )
        self.convs2 = nn.ModuleList(WeightNormConv1d(channels, channels, kernel, padding=half) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        """Return `[B, C, T]`."""
        for dilated, plain in paired(self.convs1, self.convs2):
            x = plain(functional.leaky_relu(dilated(functional.leaky_relu(x, SLOPE)), SLOPE)) + x
        return x


class Generator(nn.Module):
    """Upsampling stages, each a transposed convolution and the mean of residual blocks of several kernel sizes."""

    def __init__(
        self,
        in_channels: int,
        resblock_kernel_sizes: Sequence[int],
        resblock_dilation_sizes: Sequence[Sequence[int]],
        upsample_rates: Sequence[int],
        upsample_initial_channel: int,
        upsample_kernel_sizes: Sequence[int],
        gin_channels: int,
    ) -> None:
        super().__init__()
        self.n_kernels = len(resblock_kernel_sizes)
        channels = upsample_initial_channel
        self.conv_pre = nn.Conv1d(in_channels, channels, 7, padding=3)
        self.ups = nn.ModuleList()
        self.resblocks = nn.ModuleList()
        for rate, kernel in paired(upsample_rates, upsample_kernel_sizes):
            self.ups.append(WeightNormConvTranspose1d(channels, channels // 2, kernel, rate, (kernel - rate) // 2))
            channels //= 2
            self.resblocks.extend(
                ResidualBlock(channels, block_kernel, dilations)
                for block_kernel, dilations in paired(resblock_kernel_sizes, resblock_dilation_sizes)
            )
        self.conv_post = nn.Conv1d(channels, 1, 7, padding=3, bias=False)
        self.cond = nn.Conv1d(gin_channels, upsample_initial_channel, 1)

    def forward(self, x: Tensor, g: Tensor) -> Tensor:
        """Return samples `[B, 1, T * product of rates]` in -1..1 from x `[B, in, T]` and speaker g `[B, gin, 1]`."""
        x = self.conv_pre(x) + self.cond(g)
        for stage, upsample in enumerate(self.ups):
            x = upsample(functional.leaky_relu(x, SLOPE))
            blocks = self.resblocks[stage * self.n_kernels : (stage + 1) * self.n_kernels]
            first, *others = (block(x) for block in blocks)
            x = sum(others, start=first) / self.n_kernels
        return torch.tanh(self.conv_post(functional.leaky_relu(x, LAST_SLOPE)))
