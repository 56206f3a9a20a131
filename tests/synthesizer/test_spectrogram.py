"""Spectrograms against their definition, and the filter bank against librosa's."""

import librosa
import numpy as np
import pytest
import torch

from vqcheck.synthesizer import (
    InputError,
    SpectrogramSettings,
    linear_spectrogram,
    mel_filter_bank,
    mel_spectrogram,
    normalised_mel,
    preset,
    resample,
    spec_to_mel,
)


@pytest.mark.parametrize(
    ("rate", "n_fft", "n_mels", "fmin", "fmax"),
    [
        (32000, 2048, 128, 0.0, None),
        (22050, 1024, 80, 0.0, 8000.0),
        (48000, 4096, 100, 55.0, 20000.0),
        (8000, 256, 20, 0.0, None),
    ],
)
def test_mel_filter_bank_is_librosas(rate, n_fft, n_mels, fmin, fmax):
    """The filter bank equals librosa's default one."""
    ours = mel_filter_bank(rate, n_fft, n_mels, fmin, fmax)
    theirs = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=n_mels, fmin=fmin, fmax=fmax)
    assert ours.dtype == torch.float32
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-5, atol=1e-8)


def test_linear_spectrogram_is_the_magnitude_of_numpys_transform():
    """Each frame is the magnitude of the Fourier transform of the reflected wave under a periodic Hann window."""
    settings = SpectrogramSettings()
    wave = torch.randn(1, 6400, generator=torch.Generator().manual_seed(0))
    padded = np.pad(wave[0].numpy().astype(np.float64), 704, mode="reflect")
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(2048) / 2048)
    frames = np.lib.stride_tricks.sliding_window_view(padded, 2048)[::640]
    expected = np.abs(np.fft.rfft(frames * hann, axis=1)).T
    np.testing.assert_allclose(linear_spectrogram(wave, settings)[0].numpy(), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("samples", "frames"), [(1279, 1), (1280, 2), (1919, 2), (20480, 32)])
def test_number_of_frames(samples, frames):
    """N samples give N // hop frames of filter_length // 2 + 1 bins."""
    assert linear_spectrogram(torch.zeros(2, samples), SpectrogramSettings()).shape == (2, 1025, frames)


def test_silence_is_finite_and_has_a_gradient():
    """Silence gives the floor of both spectrograms, and a gradient that is not NaN."""
    settings = preset("tiny").spectrogram
    wave = torch.zeros(1, 640, requires_grad=True)
    spec = linear_spectrogram(wave, settings)
    assert spec.detach().flatten()[0] == pytest.approx(1e-4)
    mel = spec_to_mel(spec, settings)
    assert float(mel.detach().min()) == pytest.approx(np.log(1e-5), rel=1e-5)
    mel.sum().backward()
    assert torch.isfinite(wave.grad).all()


def test_wrong_shapes_are_named():
    """A wave with a channel axis, a wave that is too short and a spectrogram of another size are named."""
    settings = SpectrogramSettings()
    with pytest.raises(InputError, match=r"wave: expected shape \[B, N\], given \[1, 1, 6400\]"):
        linear_spectrogram(torch.zeros(1, 1, 6400), settings)
    with pytest.raises(InputError, match=r"wave: expected more than 704 samples, given shape \[1, 704\]"):
        mel_spectrogram(torch.zeros(1, 704), settings)
    with pytest.raises(InputError, match=r"spec: expected shape \[B, 1025, T\], given \[1, 513, 4\]"):
        spec_to_mel(torch.zeros(1, 513, 4), settings)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.filterwarnings("error")
def test_waves_narrower_than_float32_are_transformed_in_float32(dtype):
    """Torch would warn of half complex numbers on a GPU, and refuse on a CPU; the values are those of the same wave."""
    settings = SpectrogramSettings()
    wave = torch.randn(1, 6400, generator=torch.Generator().manual_seed(0)).to(dtype)
    found = linear_spectrogram(wave, settings)
    assert found.dtype == torch.float32
    assert torch.equal(found, linear_spectrogram(wave.float(), settings))


def test_a_normalised_mel_lies_between_minus_one_and_one():
    """Log mel from -12 to 2 becomes -1 to 1; silence is the floor of 1e-5."""
    settings = SpectrogramSettings(24000, 1024, 256, 1024, 100)
    wave = 0.3 * torch.randn(1, 2400, generator=torch.Generator().manual_seed(0))
    plain = mel_spectrogram(wave, settings)
    torch.testing.assert_close(normalised_mel(wave, settings), (plain + 12) / 7 - 1)
    silent = normalised_mel(torch.zeros(1, 2400), settings)
    assert silent.shape == (1, 100, 9)
    torch.testing.assert_close(silent, torch.full_like(silent, -0.9304), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("rate", "target"), [(32000, 24000), (8000, 6000), (24000, 32000), (44100, 32000)])
def test_a_resampled_tone_is_the_same_tone(rate, target):
    """A tone that both rates hold stays what it is away from the ends, to 80 dB."""
    samples = 4000
    tone = torch.sin(2 * torch.pi * 0.1 * rate * torch.arange(samples, dtype=torch.float64) / rate + 0.3)
    found = resample(tone[None], rate, target)[0]
    assert len(found) == samples * target // rate
    expected = torch.sin(2 * torch.pi * 0.1 * rate * torch.arange(len(found), dtype=torch.float64) / target + 0.3)
    torch.testing.assert_close(found[100:-100], expected[100:-100], atol=1e-4, rtol=0)


def test_a_tone_above_half_the_new_rate_is_gone():
    """It would come back as another tone otherwise."""
    tone = torch.sin(2 * torch.pi * 14000 * torch.arange(8000, dtype=torch.float64) / 32000)
    assert float(resample(tone[None], 32000, 24000)[0, 100:-100].abs().max()) < 1e-3


def test_a_wave_at_its_own_rate_is_itself():
    wave = torch.randn(2, 100)
    assert resample(wave, 32000, 32000) is wave
