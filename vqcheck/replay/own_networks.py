"""The shipped synthesizer and discriminator in the configured sizes, and the one start that all arms share.

Checkpoints are loaded through vqcheck's own reader: nothing in a file is executed.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook import inspection
from vqcheck.codebook.health import FIT_TO_TRAIN
from vqcheck.errors import UsageError
from vqcheck.experiment.config import FLOW_VERSIONS, TINY_VERSIONS, Config
from vqcheck.language import listed, tr, word
from vqcheck.replay.batches import ModelInputs
from vqcheck.replay.s2_training import fresh_vq_encoder
from vqcheck.replay.step_settings import StepSettings
from vqcheck.replay.surroundings import world_size
from vqcheck.synthesizer import (
    FrozenVQEncoder,
    MultiPeriodDiscriminator,
    Preset,
    SynthesizerError,
    SynthesizerTrn,
    preset,
)
from vqcheck.synthesizer.lora import add_lora

FRESH_WEIGHTS = tr("fresh, codebook by k-means")


class OwnNetworks:
    """The networks of a configuration with random weights: the generator, not frozen, and its discriminator if any.

    Raises:
        UsageError: sizes that do not fit each other, or a checkpoint that does not fit them, is of another version,
            or whose codebook was never trained.
        CheckpointError: a checkpoint cannot be read.

    """

    def __init__(self, config: Config) -> None:
        self.version = config.subject.version
        self._config = config
        _check_kind(config)
        self.preset = chosen_preset(config)
        self._sizes = config.model.model_dump(exclude_none=True)
        torch.manual_seed(config.replay.seed)
        try:
            self.net_g, self.net_d = self._generator(), self._discriminator()
            self.inputs = self._inputs()
        except (SynthesizerError, RuntimeError, ValueError) as error:
            raise UsageError(tr("sizes of the model: {reason}", reason=str(error))) from None
        if config.subject.pretrained_s2G:
            _check_generator(self.net_g, config.subject.pretrained_s2G, self.version)
        if config.subject.pretrained_s2D and self.net_d:
            _check_discriminator(self.net_d, config.subject.pretrained_s2D)

    def _generator(self) -> FrozenVQEncoder:
        expiry = self._config.subject.dead_code_expiry
        return self.preset.synthesizer(freeze_quantizer=False, dead_code_expiry=expiry, **self._sizes)

    def _discriminator(self) -> MultiPeriodDiscriminator | None:
        if self.preset.discriminator is None:
            return None
        return self.preset.multi_period_discriminator(**self._config.discriminator.model_dump(exclude_none=True))

    def _inputs(self) -> ModelInputs:
        model, mel = self.net_g, self.preset.mel
        if mel:
            mel.settings(self.preset.spectrogram)
        symbols = model.enc_p.text_embedding.num_embeddings
        sv_dim = model.sv_emb.in_features if isinstance(model, SynthesizerTrn) and model.is_v2pro else None
        return ModelInputs(self.preset.spectrogram, model.ssl_proj.in_channels, symbols, sv_dim, mel)


@dataclass(frozen=True)
class Start:
    """The networks from which every arm starts, on the CPU."""

    net_g: FrozenVQEncoder
    net_d: MultiPeriodDiscriminator | None
    weights: str
    """Where they come from."""
    notes: tuple[str, ...]


def make_start(networks: OwnNetworks, config: Config, features: Tensor) -> Start:
    """Load the pretrained weights, or make fresh ones with a codebook that fits features `[1, dim, T]`.

    Raises:
        CheckpointError: a checkpoint cannot be read.

    """
    net_g, net_d = networks.net_g, networks.net_d
    notes: list[str] = []
    if config.subject.pretrained_s2G:
        notes += _load(net_g, config.subject.pretrained_s2G)
        weights = config.subject.pretrained_s2G
    else:
        fresh_vq_encoder(net_g, features)
        weights = FRESH_WEIGHTS
    if net_d and config.subject.pretrained_s2D:
        notes += _load(net_d, config.subject.pretrained_s2D)
    elif net_d and config.subject.pretrained_s2G:
        notes.append(tr("the discriminator has fresh weights (no pretrained_s2D)"))
    if config.training.lora_rank:
        add_lora(net_g, config.training.lora_rank)
    return Start(net_g, net_d, weights, tuple(notes))


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
        raise UsageError(
            tr(
                "training.segment_size: {samples} samples are not a multiple of the hop {hop}",
                samples=samples,
                hop=settings.hop_length,
            )
        )
    return dataclasses.replace(chosen, spectrogram=settings, segment_size=samples // settings.hop_length)


def step_settings(config: Config, sizes: Preset, *, fp16: bool) -> StepSettings:
    """Return the numbers of the training step."""
    names = {"learning_rate", "betas", "eps", "lr_decay", "text_low_lr_rate", "c_mel", "c_kl", "grad_ckpt"}
    numbers = config.training.model_dump(include=names)
    return StepSettings(**numbers, segment_size=sizes.segment_size, spectrogram=sizes.spectrogram, fp16=fp16)


def _check_kind(config: Config) -> None:
    """Refuse what the version's training has no place for.

    Raises:
        UsageError: LoRA of a version without a flow, in several processes, or a discriminator of one with a flow.

    """
    version = config.subject.version
    if version not in FLOW_VERSIONS:
        if config.training.lora_rank:
            raise UsageError(
                tr("training.lora_rank: {version} is not trained with LoRA; v3, v4 and tiny-v3 are", version=version)
            )
        return
    if config.subject.pretrained_s2D:
        raise UsageError(tr("subject.pretrained_s2D: {version} learns without a discriminator", version=version))
    if config.training.lora_rank and world_size() > 1:
        raise UsageError(tr("training.lora_rank: LoRA is trained in one process; run it without torchrun"))


def _check_generator(net_g: nn.Module, path: str, version: str) -> None:
    """Refuse a checkpoint that the generator cannot start from; only its index and its VQ encoder are read.

    Raises:
        UsageError: it is no generator, of another version or size, or its codebook is not fit to train from.
        CheckpointError: it cannot be read.

    """
    with open_checkpoint(path) as checkpoint:
        found = inspection.inspect(checkpoint)
        if found.vq_encoder is None:
            raise UsageError(found.why_none, path)
        if version not in TINY_VERSIONS and found.model.version and version not in found.model.version.split(" or "):
            raise UsageError(
                tr(
                    "is a {stored} checkpoint ({evidence}), the configuration says {version}",
                    stored=found.model.version,
                    evidence=listed([str(each) for each in found.model.evidence], last=""),
                    version=version,
                ),
                path,
            )
        if found.verdict not in FIT_TO_TRAIN:
            raise UsageError(
                tr("its codebook is {verdict}: a replay from it would prove nothing", verdict=word(found.verdict)), path
            )
        _check_shapes(net_g, checkpoint)


def _check_discriminator(net_d: nn.Module, path: str) -> None:
    """Refuse a checkpoint that the discriminator cannot start from; only its index is read.

    Raises:
        UsageError: it holds no discriminator, or one of another size.
        CheckpointError: it cannot be read.

    """
    with open_checkpoint(path) as checkpoint:
        if not any(name.startswith("discriminators.") for name in checkpoint.tensors):
            raise UsageError(
                tr("is not a discriminator: it holds no tensors named {names}", names="discriminators.*"), path
            )
        _check_shapes(net_d, checkpoint)


def _load(net: nn.Module, path: str) -> list[str]:
    """Load a checkpoint, widened to float32; what it lacks keeps its fresh value. Returns notes on that.

    Raises:
        CheckpointError: a tensor cannot be read.

    """
    with open_checkpoint(path) as checkpoint:
        own = net.state_dict()
        state = {name: read_tensor(checkpoint, name) for name in own if name in checkpoint.tensors}
        net.load_state_dict(state, strict=False)
    absent = sorted({name.split(".")[0] for name in own if name not in state})
    return (
        [tr("{path}: lacks {parts}: fresh weights there", path=path, parts=listed(absent, last=""))] if absent else []
    )


def _check_shapes(net: nn.Module, checkpoint: Checkpoint) -> None:
    for name, tensor in net.state_dict().items():
        stored = checkpoint.tensors.get(name)
        if stored is not None and stored.shape != tuple(tensor.shape):
            raise UsageError(
                tr(
                    "{tensor} has the shape {stored}, the configured model's has {expected}",
                    tensor=name,
                    stored=list(stored.shape),
                    expected=list(tensor.shape),
                ),
                checkpoint.path,
            )


def read_tensor(checkpoint: Checkpoint, name: str) -> Tensor:
    """Return one stored tensor as float32."""
    stored = checkpoint.tensors[name]
    dtype = getattr(torch, stored.dtype, None)
    data = checkpoint.read(stored)
    if not isinstance(dtype, torch.dtype):
        raise UsageError(tr("this torch has no element type {dtype}", dtype=stored.dtype), checkpoint.path, name)
    if not data:
        return torch.zeros(stored.shape)
    return torch.frombuffer(bytearray(data), dtype=dtype).view(stored.shape).float()
