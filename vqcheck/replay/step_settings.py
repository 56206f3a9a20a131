"""The numbers of a training step, of our own networks and of a checkout's: a step and its optimizers both read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vqcheck.synthesizer.spectrogram import SpectrogramSettings


@dataclass(frozen=True)
class StepSettings:
    """The numbers of a training step, under the names that a configuration has for them."""

    learning_rate: float
    betas: Sequence[float]
    eps: float
    lr_decay: float
    text_low_lr_rate: float
    c_mel: float
    c_kl: float
    segment_size: int
    """Frames of the spectrogram that the decoder is trained on."""
    spectrogram: SpectrogramSettings
    fp16: bool
    grad_ckpt: bool = False
    """Of v3 and v4: compute each block again in the backward pass."""
