"""The sizes of the shipped models as upstream's configs give them, and two for seconds on a CPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from types import MappingProxyType
from typing import Any

from vqcheck.synthesizer.discriminator import MultiPeriodDiscriminator
from vqcheck.synthesizer.errors import InputError
from vqcheck.synthesizer.frozen import FrozenVQEncoder
from vqcheck.synthesizer.model import SynthesizerTrn
from vqcheck.synthesizer.model_v3 import SynthesizerTrnV3
from vqcheck.synthesizer.spectrogram import SpectrogramSettings


@dataclass(frozen=True)
class MelTarget:
    """The mel that a flow-matching decoder learns to make, beside the linear spectrogram of the same waveform."""

    resampling: Fraction
    """Its waveform's sampling rate, as a multiple of the linear spectrogram's."""
    frames: Fraction
    """Frames for one of the linear spectrogram."""
    channels: int = 100

    def settings(self, spectrogram: SpectrogramSettings) -> SpectrogramSettings:
        """Return the mel's settings: windows of four hops, up to half the sampling rate.

        Raises:
            InputError: its sampling rate or hop is no whole number.

        """
        rate = spectrogram.sampling_rate * self.resampling
        hop = spectrogram.hop_length * self.resampling / self.frames
        if rate.denominator != 1 or hop.denominator != 1:
            raise InputError(
                f"hop_length: expected one that gives {float(self.frames):g} mel frames a frame, a hop of whole "
                f"samples, given {spectrogram.hop_length} at {spectrogram.sampling_rate} Hz"
            )
        return SpectrogramSettings(int(rate), 4 * int(hop), int(hop), 4 * int(hop), self.channels)

    def width(self, longest: int) -> int:
        """Return the frames that a batch is padded to whose longest item has so many features; more than it needs."""
        step = max(2, self.frames.denominator)
        return int(self.frames * step) * (longest // step + 1)


@dataclass(frozen=True)
class Preset:
    """Everything needed to build the networks and their spectrograms.

    segment_size is in frames.  `model` and `discriminator` are keyword arguments.
    """

    model: Mapping[str, Any]
    discriminator: Mapping[str, Any] | None
    """None where the generator learns without one."""
    segment_size: int = 32
    n_speakers: int = 300
    spectrogram: SpectrogramSettings = field(default_factory=SpectrogramSettings)
    mel: MelTarget | None = None
    """What the generator learns to make if it matches flows; None for those that make samples."""

    def synthesizer(self, kind: type[FrozenVQEncoder] | None = None, **changes: Any) -> FrozenVQEncoder:
        """Build the generator, or a subclass of it; `changes` replace keyword arguments (`freeze_quantizer=False`)."""
        kind = kind or (SynthesizerTrnV3 if self.mel else SynthesizerTrn)
        sizes = {**self.model, "n_speakers": self.n_speakers, **changes}
        return kind(self.spectrogram.spec_channels, self.segment_size, **sizes)

    def multi_period_discriminator(self, **changes: Any) -> MultiPeriodDiscriminator:
        """Build the discriminator; `changes` replace keyword arguments.

        Raises:
            InputError: the generator learns without one.

        """
        if self.discriminator is None:
            raise InputError(f"version: {self.model['version']} learns without a discriminator")
        return MultiPeriodDiscriminator(**{**self.discriminator, **changes})


_SHARED = {
    "inter_channels": 192,
    "hidden_channels": 192,
    "filter_channels": 768,
    "n_heads": 2,
    "n_layers": 6,
    "kernel_size": 3,
    "resblock": "1",
    "resblock_kernel_sizes": (3, 7, 11),
    "resblock_dilation_sizes": ((1, 3, 5), (1, 3, 5), (1, 3, 5)),
    "upsample_rates": (10, 8, 2, 2, 2),
    "semantic_frame_rate": "25hz",
    "freeze_quantizer": True,
}
_BASE = {
    **_SHARED,
    "p_dropout": 0.1,
    "upsample_initial_channel": 512,
    "upsample_kernel_sizes": (16, 16, 8, 2, 2),
    "gin_channels": 512,
}
_PRO = {**_BASE, "p_dropout": 0.0, "gin_channels": 1024}
_PRO_PLUS = {**_PRO, "upsample_initial_channel": 768, "upsample_kernel_sizes": (20, 16, 8, 2, 2)}
_TINY = {
    **_BASE,
    "version": "v2",
    "inter_channels": 16,
    "hidden_channels": 16,
    "filter_channels": 32,
    "n_layers": 2,
    "resblock_kernel_sizes": (3,),
    "resblock_dilation_sizes": ((1, 3, 5),),
    "upsample_rates": (8, 8),
    "upsample_initial_channel": 32,
    "upsample_kernel_sizes": (16, 16),
    "gin_channels": 32,
    "ssl_dim": 32,
    "codebook_size": 64,
    "kmeans_iters": 10,
    "reference_channels": 88,
    "reference_hidden": 16,
    "mrte_hidden": 32,
    "mrte_heads": 2,
    "posterior_layers": 2,
    "flow_layers": 2,
    "n_flows": 2,
}
_TINY_V3 = {
    **_TINY,
    "version": "v3",
    "reference_channels": 110,
    "mel_channels": 20,
    "bridge_channels": 32,
    "bridge_layers": 2,
    "dit_dim": 64,
    "dit_depth": 2,
    "dit_heads": 4,
    "dit_conv_layers": 1,
}
_MEL_V3 = MelTarget(Fraction(3, 4), Fraction(15, 8))
_MEL_V4 = MelTarget(Fraction(1), Fraction(2))


def _preset(version: str, sizes: Mapping[str, Any]) -> Preset:
    return Preset({**sizes, "version": version}, {"version": version})


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "v1": _preset("v1", _BASE),
        "v2": _preset("v2", _BASE),
        "v2Pro": _preset("v2Pro", _PRO),
        "v2ProPlus": _preset("v2ProPlus", _PRO_PLUS),
        "v3": Preset({**_BASE, "version": "v3"}, None, mel=_MEL_V3),
        "v4": Preset({**_BASE, "version": "v4"}, None, mel=_MEL_V4),
        "tiny": Preset(
            model=_TINY,
            discriminator={"version": "v2", "narrowing": 32, "periods": (2, 3)},
            segment_size=16,
            n_speakers=0,
            spectrogram=SpectrogramSettings(
                sampling_rate=8000, filter_length=256, hop_length=64, win_length=256, n_mel_channels=20
            ),
        ),
        "tiny-v3": Preset(
            model=_TINY_V3,
            discriminator=None,
            segment_size=16,
            n_speakers=0,
            spectrogram=SpectrogramSettings(
                sampling_rate=8000, filter_length=320, hop_length=80, win_length=320, n_mel_channels=20
            ),
            mel=replace(_MEL_V3, channels=20),
        ),
    }
)


def preset(name: str) -> Preset:
    """Return the preset of a version, tiny or tiny-v3; raises InputError for another name."""
    if name not in PRESETS:
        raise InputError(f"name: expected one of {', '.join(PRESETS)}, given {name!r}")
    return PRESETS[name]
