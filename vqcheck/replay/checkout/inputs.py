"""A batch under the names that GPT-SoVITS's own classes give the parameters of their `forward`."""

import dataclasses

from torch import Tensor
from torch.nn import functional

from vqcheck.replay.batch import Batch
from vqcheck.synthesizer import SpectrogramSettings, spec_to_mel

MEL_RATES = {"v3": 1.875, "v4": 2.0}
"""Mel frames for one frame of the spectrogram: 93.75 and 100 a second, where a second has 50 of those."""

_MIDDLE, _HALF_RANGE = -5.0, 7.0
"""Log mel values lie between -12 and 2; the flow is learnt on values between -1 and 1."""


@dataclasses.dataclass(frozen=True)
class MelTarget:
    """What a flow-matching step learns to make: a mel spectrogram of this many channels and frames."""

    spectrogram: SpectrogramSettings
    rate: float
    """Frames for one frame of the linear spectrogram."""

    def of(self, spec: Tensor) -> Tensor:
        """Return `[B, n_mel_channels, T * rate]` of spec `[B, bins, T]`, resampled in time.

        Upstream computes it from the waveform at a rate of its own; the VQ encoder sees neither.
        """
        mel = spec_to_mel(spec, self.spectrogram).sub(_MIDDLE).div(_HALF_RANGE).clamp(-1, 1)
        return functional.interpolate(mel, size=int(spec.size(2) * self.rate), mode="linear")


def named(batch: Batch, target: MelTarget | None) -> dict[str, Tensor]:
    """Return what a training step takes, by name; with a target, what flow matching takes too."""
    inputs = {
        "ssl": batch.ssl,
        "ssl_lengths": batch.spec_lengths,
        "y": batch.spec,
        "y_lengths": batch.spec_lengths,
        "text": batch.text,
        "text_lengths": batch.text_lengths,
        "wav": batch.wav,
    }
    if batch.sv_emb is not None:
        inputs["sv_emb"] = batch.sv_emb
    if target is not None:
        inputs["mel"] = target.of(batch.spec)
        inputs["mel_lengths"] = (batch.spec_lengths * target.rate).long()
    return inputs
