"""Linear and mel spectrogram, as the training step compares them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from vqcheck.synthesizer.errors import InputError
from vqcheck.synthesizer.mel import mel_filter_bank

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
