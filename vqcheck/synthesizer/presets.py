"""The sizes of the shipped models as upstream's configs give them, and one for seconds on a CPU."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from vqcheck.synthesizer.discriminator import MultiPeriodDiscriminator
from vqcheck.synthesizer.errors import InputError
from vqcheck.synthesizer.model import SynthesizerTrn
from vqcheck.synthesizer.spectrogram import SpectrogramSettings


@dataclass(frozen=True)
class Preset:
    """Everything needed to build both networks and their spectrograms.

    segment_size is in frames.  `model` and `discriminator` are keyword arguments.
    """

    model: Mapping[str, Any]
    discriminator: Mapping[str, Any]
    segment_size: int = 32
    n_speakers: int = 300
    spectrogram: SpectrogramSettings = field(default_factory=SpectrogramSettings)

    def synthesizer(self, kind: type[SynthesizerTrn] = SynthesizerTrn, **changes: Any) -> SynthesizerTrn:
        """Build the generator, or a subclass of it; `changes` replace keyword arguments (`freeze_quantizer=False`)."""
        sizes = {**self.model, **changes}
        return kind(self.spectrogram.spec_channels, self.segment_size, self.n_speakers, **sizes)

    def multi_period_discriminator(self, **changes: Any) -> MultiPeriodDiscriminator:
        """Build the discriminator; `changes` replace keyword arguments."""
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


def _preset(version: str, sizes: Mapping[str, Any]) -> Preset:
    return Preset({**sizes, "version": version}, {"version": version})


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "v1": _preset("v1", _BASE),
        "v2": _preset("v2", _BASE),
        "v2Pro": _preset("v2Pro", _PRO),
        "v2ProPlus": _preset("v2ProPlus", _PRO_PLUS),
        "tiny": Preset(
            model=_TINY,
            discriminator={"version": "v2", "narrowing": 32, "periods": (2, 3)},
            segment_size=16,
            n_speakers=0,
            spectrogram=SpectrogramSettings(
                sampling_rate=8000, filter_length=256, hop_length=64, win_length=256, n_mel_channels=20
            ),
        ),
    }
)


def preset(name: str) -> Preset:
    """Return the preset v1, v2, v2Pro, v2ProPlus or tiny; raises InputError for another name."""
    if name not in PRESETS:
        raise InputError(f"name: expected one of {', '.join(PRESETS)}, given {name!r}")
    return PRESETS[name]
