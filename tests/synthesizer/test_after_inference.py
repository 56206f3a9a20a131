"""What is kept from one call to the next serves a training after an inference in the same process."""

import torch

from vqcheck.synthesizer import SpectrogramSettings, mel_spectrogram


def test_a_mel_made_in_inference_mode_does_not_spoil_a_gradient_later():
    settings = SpectrogramSettings(8000, 256, 64, 256, 21)  # of no other test: nothing of it is kept yet
    wave = torch.randn(1, 2048, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        mel_spectrogram(wave.clone(), settings)
    learned = wave.clone().requires_grad_()
    mel_spectrogram(learned, settings).sum().backward()
    assert torch.isfinite(learned.grad).all()
    assert learned.grad.any()
