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
_QUIETEST, _LOUDEST = -12, 2  # the log mel that a flow is learnt on as -1 and 1
_ZERO_CROSSINGS, _CUTOFF, _KAISER = 16, 0.97, 9.0  # what ffmpeg's resampler takes where nothing is said


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


def normalised_mel(wave: Tensor, settings: SpectrogramSettings) -> Tensor:
    """Return what a flow-matching decoder learns to make, `[B, mels, N // hop]` of wave `[B, N]`: log mel from -1 to 1.

    Silence gives -0.93, and what is louder than the loudest more than 1.
    """
    return (mel_spectrogram(wave, settings) - _QUIETEST) / (_LOUDEST - _QUIETEST) * 2 - 1


def resample(wave: Tensor, rate: int, target: int) -> Tensor:
    """Return wave `[B, N]` at another sampling rate, `[B, N * target / rate]` rounded down: a Kaiser-windowed sinc."""
    divisor = math.gcd(rate, target)
    step, phases = rate // divisor, target // divisor
    if step == phases:
        return wave
    kernel = _resampling_kernel(step, phases).to(wave)
    margin = kernel.size(-1) // 2
    # beyond its ends a wave is silent
    padded = functional.pad(wave.unsqueeze(1), (margin, margin + step))
    found = functional.conv1d(padded, kernel, stride=step).transpose(1, 2).flatten(1)
    return found[:, : wave.size(1) * phases // step]


@lru_cache(maxsize=16)
def _resampling_kernel(step: int, phases: int) -> Tensor:
    """Return `[phases, 1, taps]`: the weights of the samples around each of the outputs of `step` inputs."""
    passed = min(1.0, phases / step) * _CUTOFF
    reach = _ZERO_CROSSINGS / min(1.0, phases / step)
    margin = math.ceil(reach) + step
    inputs = torch.arange(-margin, margin + 1, dtype=torch.float64)
    distance = inputs - torch.arange(phases, dtype=torch.float64)[:, None] * step / phases
    window = torch.special.i0(_KAISER * (1 - (distance / reach).square()).clamp(min=0).sqrt())
    weights = torch.where(distance.abs() < reach, torch.sinc(distance * passed) * window, torch.zeros(()).double())
    return (weights / weights.sum(dim=1, keepdim=True)).unsqueeze(1)


@lru_cache(maxsize=16)
def _window(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # kept for a training that may follow in the same process
        return torch.hann_window(size, dtype=dtype, device=device)


@lru_cache(maxsize=16)
def _filters(settings: SpectrogramSettings, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
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
