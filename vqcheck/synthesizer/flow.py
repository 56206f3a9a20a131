"""The normalizing flow of VITS (Kim et al. 2021): mean-only coupling layers between posterior and prior."""

import torch
from torch import Tensor, nn

from vqcheck.synthesizer.wavenet import WaveNet


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
