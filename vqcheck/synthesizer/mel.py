"""The mel filter bank of Slaney's Auditory Toolbox: what librosa computes by default, without needing librosa."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# linear below 1 kHz, logarithmic above
_HZ_PER_MEL = 200 / 3
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _HZ_PER_MEL
_LOG_STEP = math.log(6.4) / 27


def mel_filter_bank(sampling_rate: int, n_fft: int, n_mels: int, fmin: float, fmax: float | None) -> Tensor:
    """Return the weights `[n_mels, n_fft // 2 + 1]` (float32): triangles of equal area; fmax None is half the rate."""
    highest = sampling_rate / 2 if fmax is None else fmax
    bins = torch.linspace(0, sampling_rate / 2, n_fft // 2 + 1, dtype=torch.float64)
    mels = torch.linspace(_hz_to_mel(fmin), _hz_to_mel(highest), n_mels + 2, dtype=torch.float64)
    corners = _mel_to_hz(mels)
    widths = corners.diff()
    slopes = corners[:, None] - bins
    rising = -slopes[:-2] / widths[:-1, None]
    falling = slopes[2:] / widths[1:, None]
    triangles = torch.minimum(rising, falling).clamp(min=0)
    areas = 2 / (corners[2:] - corners[:-2])
    return (triangles * areas[:, None]).float()


def _hz_to_mel(hertz: float) -> float:
    if hertz < _BREAK_HZ:
        return hertz / _HZ_PER_MEL
    return _BREAK_MEL + math.log(hertz / _BREAK_HZ) / _LOG_STEP


def _mel_to_hz(mels: Tensor) -> Tensor:
    above = _BREAK_HZ * torch.exp(_LOG_STEP * (mels - _BREAK_MEL))
    return torch.where(mels < _BREAK_MEL, mels * _HZ_PER_MEL, above)
