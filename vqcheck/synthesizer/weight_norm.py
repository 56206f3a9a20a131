"""Weight-normed convolutions (Salimans & Kingma 2016) under the parameter names of old checkpoints.

`torch.nn.utils.weight_norm` recomputes the weight at each call through a hook.  Here the weight is a method, so that a
caller who uses a layer more than once a step (the discriminator does) can compute it once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from vqcheck.synthesizer.errors import InputError


class WeightNormed(nn.Module):
    """A convolution whose weight is `weight_g * weight_v / |weight_v|`, the norm taken for each entry of axis 0.

    Parameters, in this order: `bias [out]`, `weight_g [axis 0, 1, ...]`, `weight_v` (the convolution's shape).  The
    order matters: the state of an optimizer is indexed by it.
    """

    weight_g: nn.Parameter
    weight_v: nn.Parameter

    def _split_weight(self) -> None:
        weight = self._parameters.pop("weight")
        assert weight is not None
        direction = weight.detach()
        self.weight_g = nn.Parameter(torch.norm_except_dim(direction, 2, 0))
        self.weight_v = nn.Parameter(direction)

    def effective_weight(self) -> Tensor:
        """Return the weight that the convolution uses, in the shape of `weight_v`."""
        prepared = self._parameters.get("weight")
        if prepared is not None:  # by cast_together
            return prepared
        weight: Tensor = torch._weight_norm(self.weight_v, self.weight_g, 0)  # noqa: SLF001 - fused, has no public name
        return weight


class WeightNormConv1d(WeightNormed, nn.Conv1d):
    """A weight-normed Conv1d; axis 0 is the output channel."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, padding, dilation, groups)
        self._split_weight()

    def bound(self) -> Callable[[Tensor], Tensor]:
        """Return the layer as a function whose weight is computed now, once, for any number of calls."""
        return partial(self._conv_forward, weight=self.effective_weight(), bias=self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve `[B, in, T]` to `[B, out, T']`."""
        return self.bound()(x)


class ColumnConv(nn.Conv2d):
    """A convolution over columns, kernel `(k, 1)` as stored, that takes them lying: `[B, in, columns, H]`.

    The same sums, but along memory: on a CPU about a tenth faster for two or three columns, never slower.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, padding: int) -> None:
        super().__init__(in_channels, out_channels, (kernel, 1), (stride, 1), (padding, 0))

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return functional.conv2d(x, weight.transpose(2, 3), bias, (1, self.stride[0]), (0, int(self.padding[0])))


class WeightNormColumnConv(WeightNormed, ColumnConv):
    """A weight-normed ColumnConv; axis 0 is the output channel."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, padding: int) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, padding)
        self._split_weight()

    def bound(self) -> Callable[[Tensor], Tensor]:
        """Return the layer as a function whose weight is computed now, once, for any number of calls."""
        return partial(self._conv_forward, weight=self.effective_weight(), bias=self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve `[B, in, columns, H]` to `[B, out, columns, H']`."""
        return self.bound()(x)


class WeightNormConvTranspose1d(WeightNormed, nn.ConvTranspose1d):
    """A weight-normed ConvTranspose1d; axis 0 is the *input* channel."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, padding: int) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, padding)
        self._split_weight()

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Convolve `[B, in, T]` to `[B, out, T * stride]` (where kernel - 2 * padding == stride).

        Raises:
            InputError: torch's argument `output_size` is given; the size is always the default one here.

        """
        if output_size is not None:
            raise InputError(f"output_size: expected None, given {output_size}")
        weight = self.effective_weight()
        return functional.conv_transpose1d(x, weight, self.bias, self.stride, self.padding)  # type: ignore[arg-type]
