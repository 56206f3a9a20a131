"""Linear and mel spectrogram, as the training step compares them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from vqcheck.synthesizer.errors import InputError

_SMALLEST_POWER = 1e-8
_SMALLEST_MEL = 1e-5


@dataclass(frozen=True)
class SpectrogramSettings:
    """Sizes in samples, frequencies in Hz; the defaults are upstream's.  fmax None is half the sampling rate."""

    sampling_rate: int = 32000
    filter_length: int = 2048
    hop_length: int = 640
    win_length: int = 2048
    n_mel_channels: int = 128
    mel_fmin: float = 0.0
    mel_fmax: float | None = None

    @property
    def spec_channels(self) -> int:
        """Number of bins of the linear spectrogram."""
        return self.filter_length // 2 + 1


def linear_spectrogram(wave: Tensor, settings: SpectrogramSettings) -> Tensor:
    """Return magnitudes `[B, bins, N // hop]` of wave `[B, N]`, in the wave's dtype, or float32 where it is narrower.

    torch transforms half precision on some devices only, to half complex numbers that it calls experimental.
    """
    if wave.dim() != 2:
        raise InputError(f"wave: expected shape [B, N], given {list(wave.shape)}")
    if wave.dtype in (torch.float16, torch.bfloat16):
        wave = wave.float()
    margin = (settings.filter_length - settings.hop_length) // 2
    if wave.size(1) <= margin:
        raise InputError(f"wave: expected more than {margin} samples, given shape {list(wave.shape)}")
    padded = functional.pad(wave.unsqueeze(1), (margin, margin), mode="reflect").squeeze(1)
    spectrum = torch.stft(
        padded,
        settings.filter_length,
        hop_length=settings.hop_length,
        win_length=settings.win_length,
        window=_window(settings.win_length, wave.dtype, wave.device),
        center=False,
        onesided=True,
        return_complex=True,
    )
    return torch.sqrt(torch.view_as_real(spectrum).pow(2).sum(-1) + _SMALLEST_POWER)


def spec_to_mel(spec: Tensor, settings: SpectrogramSettings) -> Tensor:
    """Return log mel `[B, mels, T]` of magnitudes `[B, bins, T]`."""
    if spec.dim() != 3 or spec.size(1) != settings.spec_channels:
        raise InputError(f"spec: expected shape [B, {settings.spec_channels}, T], given {list(spec.shape)}")
    mel = _filters(settings, spec.dtype, spec.device) @ spec
    return torch.log(mel.clamp(min=_SMALLEST_MEL))


def mel_spectrogram(wave: Tensor, settings: SpectrogramSettings) -> Tensor:
    """Return log mel `[B, mels, N // hop]` of wave `[B, N]`."""
    return spec_to_mel(linear_spectrogram(wave, settings), settings)


@lru_cache(maxsize=16)
def _window(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.hann_window(size, dtype=dtype, device=device)


@lru_cache(maxsize=16)
def _filters(settings: SpectrogramSettings, dtype: torch.dtype, device: torch.device) -> Tensor:
    bank = mel_filter_bank(
        settings.sampling_rate,
        settings.filter_length,
        settings.n_mel_channels,
        settings.mel_fmin,
        settings.mel_fmax,
    )
    return bank.to(device, dtype)


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
