"""A drop-in for the s2 networks of GPT-SoVITS, whose codebook stays frozen when it should; needs torch alone."""

from vqcheck.synthesizer.checks import VERSIONS
from vqcheck.synthesizer.codebook import DeadCodeExpiry, EuclideanCodebook
from vqcheck.synthesizer.discriminator import MultiPeriodDiscriminator
from vqcheck.synthesizer.errors import (
    InputError,
    StateDictMismatchError,
    SynthesizerError,
    UninitialisedCodebookError,
)
from vqcheck.synthesizer.frozen import FrozenVQEncoder
from vqcheck.synthesizer.losses import discriminator_loss, feature_loss, generator_loss, kl_loss, mel_loss
from vqcheck.synthesizer.model import SynthesizerTrn
from vqcheck.synthesizer.model_v3 import SynthesizerTrnV3
from vqcheck.synthesizer.presets import PRESETS, MelTarget, Preset, preset
from vqcheck.synthesizer.quantizer import ResidualVectorQuantizer
from vqcheck.synthesizer.segments import rand_slice_segments, slice_segments
from vqcheck.synthesizer.spectrogram import (
    SpectrogramSettings,
    linear_spectrogram,
    mel_filter_bank,
    mel_spectrogram,
    normalised_mel,
    resample,
    spec_to_mel,
)

__all__ = [
    "PRESETS",
    "VERSIONS",
    "DeadCodeExpiry",
    "EuclideanCodebook",
    "FrozenVQEncoder",
    "InputError",
    "MelTarget",
    "MultiPeriodDiscriminator",
    "Preset",
    "ResidualVectorQuantizer",
    "SpectrogramSettings",
    "StateDictMismatchError",
    "SynthesizerError",
    "SynthesizerTrn",
    "SynthesizerTrnV3",
    "UninitialisedCodebookError",
    "discriminator_loss",
    "feature_loss",
    "generator_loss",
    "kl_loss",
    "linear_spectrogram",
    "mel_filter_bank",
    "mel_loss",
    "mel_spectrogram",
    "normalised_mel",
    "preset",
    "rand_slice_segments",
    "resample",
    "slice_segments",
    "spec_to_mel",
]
