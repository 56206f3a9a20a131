"""The discriminators of the s2 step: one over the waveform, several over its periods (HiFi-GAN, Kong et al. 2020)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vqcheck.synthesizer.cast_together import cast_together
from vqcheck.synthesizer.checks import check_shape, check_state_dict, check_version, is_pro, paired
from vqcheck.synthesizer.weight_norm import ColumnConv, WeightNormColumnConv, WeightNormConv1d

SLOPE = 0.1
PERIODS = (2, 3, 5, 7, 11)
PRO_PERIODS = (*PERIODS, 17, 23)

Judged = tuple[Tensor, list[Tensor]]
_Layer = Callable[[Tensor], Tensor]


class SubDiscriminator(nn.Module):
    """A stack of convolutions that judges samples `[B, 1, N]`."""

    convs: nn.ModuleList
    conv_post: nn.Module

    def arrange(self, samples: Tensor) -> Tensor:
        """Return samples `[B, 1, N]` in the shape that the first convolution takes."""
        return samples

    def restore(self, features: Tensor) -> Tensor:
        """Return features in the shape that callers see."""
        return features

    def forward(self, *batches: Tensor) -> list[Judged]:
        """Return logits `[B, N']` and all feature maps for each of the batches `[B, 1, N]`.

        All batches of a call share one computation of the weight-normed weights, and one pass where a gradient has to
        reach all of them or none.
        """
        *layers, last = (_bound(layer) for layer in (*self.convs, self.conv_post))
        # each pass is an iteration of a spectral norm
        is_weight_normed = last is not self.conv_post
        if len({samples.requires_grad for samples in batches}) > 1 or not is_weight_normed:
            return [self._judged(samples, layers, last) for samples in batches]
        logits, features = self._judged(torch.cat(batches), layers, last)
        sizes = [len(samples) for samples in batches]
        return [(own, list(maps)) for own, *maps in paired(*(torch.split(each, sizes) for each in (logits, *features)))]

    def _judged(self, samples: Tensor, layers: Sequence[_Layer], last: _Layer) -> Judged:
        x = self.arrange(samples)
        features = []
        for layer in layers:
            x = functional.leaky_relu(layer(x), SLOPE)
            features.append(self.restore(x))
        x = self.restore(last(x))
        features.append(x)
        return x.flatten(1), features


class ScaleDiscriminator(SubDiscriminator):
    """Judges the waveform through strided, grouped convolutions."""

    def __init__(self, use_spectral_norm: bool, narrowing: int) -> None:
        super().__init__()
        sizes = [
            # in, out, kernel, stride, groups
            (1, 16, 15, 1, 1),
            (16, 64, 41, 4, 4),
            (64, 256, 41, 4, 16),
            (256, 1024, 41, 4, 64),
            (1024, 1024, 41, 4, 256),
            (1024, 1024, 5, 1, 1),
        ]
        self.convs = nn.ModuleList(
            _conv1d(
                _narrowed(before, narrowing),
                _narrowed(after, narrowing),
                kernel,
                stride,
                _narrowed(groups, narrowing),
                use_spectral_norm,
            )
            for before, after, kernel, stride, groups in sizes
        )
        self.conv_post = _conv1d(_narrowed(1024, narrowing), 1, 3, 1, 1, use_spectral_norm)


class PeriodDiscriminator(SubDiscriminator):
    """Judges the waveform folded into columns of every p-th sample."""

    def __init__(self, period: int, use_spectral_norm: bool, narrowing: int) -> None:
        super().__init__()
        self.period = period
        channels = [1, *(_narrowed(size, narrowing) for size in (32, 128, 512, 1024, 1024))]
        strides = (3, 3, 3, 3, 1)
        self.convs = nn.ModuleList(
            _column_conv(before, after, 5, stride, use_spectral_norm)
            for before, after, stride in zip(channels, channels[1:], strides)  # noqa: B905
        )
        self.conv_post = _column_conv(channels[-1], 1, 3, 1, use_spectral_norm)

    def arrange(self, samples: Tensor) -> Tensor:
        """Return every p-th sample as a row, `[B, 1, period, N / period]`; the end is reflected up to a whole row."""
        missing = -samples.size(2) % self.period
        if missing:
            samples = functional.pad(samples, (0, missing), mode="reflect")
        return samples.view(*samples.shape[:2], -1, self.period).transpose(2, 3).contiguous()

    def restore(self, features: Tensor) -> Tensor:
        """Return `[B, C, N / period, period]`, a view."""
        return features.transpose(2, 3)


class MultiPeriodDiscriminator(nn.Module):
    """All discriminators of a version; v1 and v2 have six of them, v2Pro and v2ProPlus eight.

    `narrowing` divides the number of channels (and groups), for tests that need no full size; `periods` replaces the
    version's.
    """

    def __init__(
        self,
        use_spectral_norm: bool = False,
        version: str = "v2",
        narrowing: int = 1,
        periods: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        check_version(version)
        self.version = version
        if periods is None:
            periods = PRO_PERIODS if is_pro(version) else PERIODS
        self.discriminators = nn.ModuleList(
            [
                ScaleDiscriminator(use_spectral_norm, narrowing),
                *(PeriodDiscriminator(period, use_spectral_norm, narrowing) for period in periods),
            ]
        )

    def forward(
        self, y: Tensor, y_hat: Tensor
    ) -> tuple[list[Tensor], list[Tensor], list[list[Tensor]], list[list[Tensor]]]:
        """Return (real logits, fake logits, real features, fake features), a list entry for each discriminator.

        y and y_hat are samples `[B, 1, N]`, logits `[B, N']`.

        Raises:
            InputError: if a shape is another one.

        """
        check_shape("y", y, "B", 1, "N")
        check_shape("y_hat", y_hat, *y.shape)
        with cast_together(self.discriminators):
            judged = [discriminator(y, y_hat) for discriminator in self.discriminators]
        (real_logits, real_features), (fake_logits, fake_features) = (paired(*side) for side in paired(*judged))
        return list(real_logits), list(fake_logits), list(real_features), list(fake_features)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As torch's; raises StateDictMismatchError, which names tensors and shapes, if the weights do not fit."""
        check_state_dict(self, state_dict, strict, f"version {self.version!r}")
        # torch 2.0 does not know `assign`
        return super().load_state_dict(state_dict, strict, **({"assign": True} if assign else {}))


def _bound(layer: nn.Module) -> _Layer:
    return layer.bound() if isinstance(layer, (WeightNormConv1d, WeightNormColumnConv)) else layer


def _narrowed(size: int, narrowing: int) -> int:
    return max(1, size // narrowing)


def _conv1d(before: int, after: int, kernel: int, stride: int, groups: int, use_spectral_norm: bool) -> nn.Module:
    padding = kernel // 2
    if use_spectral_norm:
        return torch.nn.utils.spectral_norm(nn.Conv1d(before, after, kernel, stride, padding, groups=groups))
    return WeightNormConv1d(before, after, kernel, stride, padding, groups=groups)


def _column_conv(before: int, after: int, kernel: int, stride: int, use_spectral_norm: bool) -> nn.Module:
    padding = kernel // 2
    if use_spectral_norm:
        return torch.nn.utils.spectral_norm(ColumnConv(before, after, kernel, stride, padding))
    return WeightNormColumnConv(before, after, kernel, stride, padding)
