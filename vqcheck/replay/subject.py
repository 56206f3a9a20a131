"""What is trained: the shipped synthesizer and discriminator, and the one start that all arms share."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vqcheck.errors import UsageError
from vqcheck.experiment.config import Config
from vqcheck.replay.weights import check_discriminator, check_generator, load
from vqcheck.synthesizer import (
    MultiPeriodDiscriminator,
    Preset,
    SpectrogramSettings,
    SynthesizerError,
    SynthesizerTrn,
    preset,
)

_FRAME_ENERGY = 1000 / 768
"""Mean square of a projected feature in trained models: frames of 768 dimensions have |x|^2 near 1000."""

_MEAN_COUNT, _SMALLEST_COUNT = 20.0, 4.0
"""Counts of the codes in a fresh codebook: none of them is dead."""


class Subject:
    """Builds both networks of a configuration.

    Raises:
        UsageError: sizes that do not fit each other, or a checkpoint that does not fit them, is of another version,
            or whose codebook was never trained.
        CheckpointError: a checkpoint cannot be read.

    """

    def __init__(self, config: Config) -> None:
        self.version = config.subject.version
        self._config = config
        self._preset = chosen_preset(config)
        self._sizes = config.model.model_dump(exclude_none=True)
        try:
            with torch.device("meta"):
                self.outline = self.build_generator()
                """The generator without values, for its sizes."""
                outline_d = self.build_discriminator()
        except (SynthesizerError, RuntimeError, ValueError) as error:
            raise UsageError(f"sizes of the model: {error}") from None
        if config.subject.pretrained_s2G:
            check_generator(self.outline, config.subject.pretrained_s2G, self.version)
        if config.subject.pretrained_s2D:
            check_discriminator(outline_d, config.subject.pretrained_s2D)

    @property
    def spectrogram(self) -> SpectrogramSettings:
        return self._preset.spectrogram

    def build_generator(self) -> SynthesizerTrn:
        """Return a new generator, not frozen, with random weights."""
        expiry = self._config.subject.dead_code_expiry
        return self._preset.synthesizer(freeze_quantizer=False, dead_code_expiry=expiry, **self._sizes)

    def build_discriminator(self) -> MultiPeriodDiscriminator:
        """Return a new discriminator with random weights."""
        return self._preset.multi_period_discriminator(**self._config.discriminator.model_dump(exclude_none=True))


@dataclass(frozen=True)
class Start:
    """The networks from which every arm starts, on the CPU."""

    net_g: SynthesizerTrn
    net_d: MultiPeriodDiscriminator
    weights: str
    """Where they come from."""
    notes: tuple[str, ...]


def make_start(subject: Subject, config: Config, features: Iterable[Tensor]) -> Start:
    """Load the pretrained weights, or make fresh ones with a codebook that fits `features` (`[dim, T]` each).

    Raises:
        CheckpointError: a checkpoint cannot be read.

    """
    torch.manual_seed(config.replay.seed)
    net_g, net_d = subject.build_generator(), subject.build_discriminator()
    notes: list[str] = []
    if config.subject.pretrained_s2G:
        notes += load(net_g, config.subject.pretrained_s2G)
        weights = config.subject.pretrained_s2G
    else:
        _fresh_vq_encoder(net_g, torch.cat(list(features), dim=1)[None])
        weights = "fresh, codebook by k-means"
    if config.subject.pretrained_s2D:
        notes += load(net_d, config.subject.pretrained_s2D)
    elif config.subject.pretrained_s2G:
        notes.append("the discriminator has fresh weights (no pretrained_s2D)")
    return Start(net_g, net_d, weights, tuple(notes))


@torch.no_grad()
def _fresh_vq_encoder(net_g: SynthesizerTrn, ssl: Tensor) -> None:
    """Give the projection the energy it has in trained models, then fill the codebook from ssl `[1, dim, T]`."""
    projected = net_g.ssl_proj(ssl)
    net_g.ssl_proj.weight.mul_((_FRAME_ENERGY / projected.var()).sqrt())
    net_g.initialise_codebook(ssl)
    # few frames leave small counts, and codes with a count below 2 would be dead from the first step on
    for codebook in net_g.quantizer.codebooks():
        counts = codebook.cluster_size
        counts.copy_((counts * _MEAN_COUNT / counts.mean()).clamp(min=_SMALLEST_COUNT))
        codebook.embed_avg.copy_(codebook.embed * counts[:, None])


def chosen_preset(config: Config) -> Preset:
    """Return the version's sizes with what the configuration changes of segment and spectrogram.

    Raises:
        UsageError: a segment is no whole number of frames.

    """
    chosen = preset(config.subject.version)
    changes: dict[str, Any] = config.spectrogram.model_dump(exclude_none=True)
    settings = dataclasses.replace(chosen.spectrogram, **changes)
    samples = config.training.segment_size or chosen.segment_size * chosen.spectrogram.hop_length
    if samples % settings.hop_length:
        raise UsageError(f"training.segment_size: {samples} samples are no multiple of the hop {settings.hop_length}")
    return dataclasses.replace(chosen, spectrogram=settings, segment_size=samples // settings.hop_length)
