"""The subject that is a user's own GPT-SoVITS checkout: its classes, our training step, in a process of its own.

Its VQ encoder is mirrored here, so that it is watched as if it were in this process.
"""

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.codebook import inspection
from vqcheck.codebook.health import FIT_TO_TRAIN
from vqcheck.errors import UsageError
from vqcheck.experiment.config import FLOW_VERSIONS, Config
from vqcheck.language import listed, tr, word
from vqcheck.live.encoder import LiveEncoder
from vqcheck.live.tensor_change import SourceLine, Write
from vqcheck.replay.batches import ModelInputs
from vqcheck.replay.checkout.child_process import ChildProcess
from vqcheck.replay.checkout.tensor_json import decoded, encoded
from vqcheck.replay.own_networks import FRESH_WEIGHTS, chosen_preset, read_tensor, step_settings
from vqcheck.replay.s2_training import tokens_of
from vqcheck.replay.strategies import Strategy
from vqcheck.replay.subject import StepReport, Subject
from vqcheck.replay.surroundings import (
    choose_device,
    choose_fp16,
    process_group,
    ranks_of_children,
    upstream_settings,
    world_size,
)
from vqcheck.replay.trace import CommitLossState, PartMoves, Setting
from vqcheck.replay.training_data import TrainingData, s2_setting, trained_as
from vqcheck.synthesizer import InputError, MelTarget, Preset, preset

_SIZES_OF: Final = {"tiny": "v2", "tiny-v3": "v3"}
"""Tiny is no size of a checkout's."""


class CheckoutSubject(Subject):
    """Loads the tree once, in one child process; each arm builds its networks anew there."""

    child: ChildProcess
    data: TrainingData

    @contextlib.contextmanager
    def opened(self, save: str | None) -> Iterator[None]:
        config, subject = self.config, self.config.subject
        path = _checkout(config)
        if save:
            raise UsageError(tr("subject.checkout: its checkpoints are not saved"))
        if config.training.lora_rank and world_size() > 1:
            raise UsageError(tr("training.lora_rank: LoRA is trained in one process; run it without torchrun"))
        self._device = choose_device(config.replay.device)
        self._fp16 = choose_fp16(config, self._device)
        if config.training.lora_rank and subject.version not in FLOW_VERSIONS and subject.generator is None:
            raise UsageError(
                tr("training.lora_rank: {version} is not trained with LoRA; v3 and v4 are", version=subject.version)
            )
        sizes = chosen_preset(config.changed("subject", version=_SIZES_OF.get(subject.version, subject.version)))
        with (
            tempfile.TemporaryDirectory() as folder,
            upstream_settings(torch.device("cpu"), None),
            process_group(torch.device("cpu")),
            ChildProcess(subject.python, path, subject.time_limit) as self.child,
        ):
            request = _request(config, path, sizes, self._device, self._fp16, folder)
            request["ranks"] = ranks_of_children()
            self._found = found = self.child.ask(do="load", **request)
            self.config = config.changed("subject", version=found["version"])
            self._notes = _fits(self.config, found["tensors"])
            inputs = ModelInputs(
                sizes.spectrogram, found["ssl_dim"], found["table"], found["sv_dim"], _target(found, sizes)
            )
            self.data = TrainingData(self.config, inputs)
            yield

    def start(self, strategy: Strategy) -> "CheckoutTraining":
        return CheckoutTraining(self, strategy)

    def setting(self) -> Setting:
        config, found = self.config, self._found
        weights = config.subject.pretrained_s2G or FRESH_WEIGHTS
        about = (trained_as(config), weights, self._notes, found["torch"], _checkout(config))
        return s2_setting(config, self.data, self._device, self._fp16, *about)


class CheckoutTraining:
    """One arm of a checkout: the child trains, and the mirror is kept up to date."""

    def __init__(self, subject: CheckoutSubject, strategy: Strategy) -> None:
        self._child, self._probe, self._adapted = subject.child, subject.data.probe, subject.config.training.lora_rank
        self._mirror = Mirror()
        asked = {"strategy": strategy.name, "features": encoded(subject.data.features)}
        self._mirror.update(self._child.ask(do="start", **asked)["tensors"])
        self._batches = subject.data.batches()
        if self.probe_tokens() is None:
            raise UsageError(tr("checkout: its VQ encoder is not a projection with one codebook, as GPT-SoVITS's is"))

    @property
    def module(self) -> nn.Module:
        return self._mirror

    def step(self, number: int, traced: LiveEncoder | None) -> StepReport:
        epoch, batch = next(self._batches)
        sent = {name: encoded(value) for name, value in batch.inputs().items()}
        answer = self._child.ask(do="step", number=number, batch=sent, epoch=epoch, trace=traced is not None)
        self._mirror.update(answer["tensors"], answer["gone"])
        report = answer["report"]
        known = {tensor.name for tensor in traced.tensors} if traced else set()
        writes = {name: _write(write) for name, write in report.pop("writes").items() if name in known}
        state = CommitLossState(report.pop("commit_loss_state"))
        return StepReport(**report, commit_loss_state=state, writes=writes)

    def probe_tokens(self) -> Tensor | None:
        return tokens_of(self._mirror, self._probe)

    def moved_parameters(self) -> tuple[PartMoves, ...]:
        if not self._adapted:
            return ()
        return tuple(PartMoves(**each) for each in self._child.ask(do="moves")["parameters"])


class Mirror(nn.Module):
    """A copy of a VQ encoder in another process: modules and buffers under the names that the tensors have there.

    Buffers: `ssl_proj.weight [dim, dim, stride]`, `ssl_proj.bias [dim]`, those of `quantizer`.
    """

    def update(self, tensors: Mapping[str, Any], gone: Iterable[str] = ()) -> None:
        """Take over tensors as the child sends them, and drop those that it has no more."""
        for name, value in tensors.items():
            path, last = name.rpartition(".")[::2]
            self._module_at(path).register_buffer(last, decoded(value))
        for name in gone:
            path, last = name.rpartition(".")[::2]
            delattr(self._module_at(path), last)

    def _module_at(self, path: str) -> nn.Module:
        module: nn.Module = self
        for part in path.split("."):
            if part not in module._modules:  # noqa: SLF001 - add_module refuses names that are attributes
                module.add_module(part, nn.Module())
            module = module.get_submodule(part)
        return module


def _write(value: Mapping[str, Any]) -> Write:
    caller = value["called_from"]
    return Write(**{**value, "called_from": SourceLine(**caller) if caller else None})


def _checkout(config: Config) -> str:
    path = os.path.abspath(os.path.expanduser(str(config.subject.checkout)))
    models = os.path.join("GPT_SoVITS", "module", "models.py")
    if not os.path.isdir(path):
        raise UsageError(tr("checkout {path}: there is no such folder", path=path))
    if not os.path.isfile(os.path.join(path, models)):
        raise UsageError(tr("checkout {path}: is not a GPT-SoVITS checkout: it has no {file}", path=path, file=models))
    return path


def _request(
    config: Config, path: str, preset: Preset, device: torch.device, fp16: bool, folder: str
) -> dict[str, Any]:
    sizes = {**preset.model, **config.model.model_dump(exclude_none=True)}
    del sizes["version"]
    sizes["freeze_quantizer"] = config.subject.freeze_quantizer
    return {
        "checkout": path,
        # tiny is a size of ours; of a tree it means the newest version that it knows
        "version": {"tiny": None, "tiny-v3": "v3"}.get(config.subject.version, config.subject.version),
        "lora_rank": config.training.lora_rank,
        "generator": config.subject.generator,
        "model": sizes,
        "use_spectral_norm": bool(config.discriminator.use_spectral_norm),
        "spec_channels": preset.spectrogram.spec_channels,
        "segment": preset.segment_size,
        "seed": config.replay.seed,
        "device": str(device),
        "settings": dataclasses.asdict(step_settings(config, preset, fp16=fp16)),
        "pretrained_g": _plain(config.subject.pretrained_s2G, folder, "g", generator=True),
        "pretrained_d": _plain(config.subject.pretrained_s2D, folder, "d", generator=False),
    }


def _target(found: dict[str, Any], sizes: Preset) -> MelTarget | None:
    """Return the mel that a tree's network learns to make, in as many channels as it has; None if it makes samples.

    Raises:
        UsageError: the configured spectrogram has no such mel.

    """
    target = preset(found["version"]).mel
    if found["mel_channels"] is None or target is None:
        return None
    try:
        target.settings(sizes.spectrogram)
    except InputError as error:
        raise UsageError(tr("spectrogram.{error}", error=str(error))) from None
    return dataclasses.replace(target, channels=found["mel_channels"])


def _fits(config: Config, tensors: list[str]) -> tuple[str, ...]:
    """Return what to know of a generator checkpoint, of which the tree's network has these tensors.

    Raises:
        UsageError: it is of another version than the tree's network.

    """
    path, version = config.subject.pretrained_s2G, config.subject.version
    if path is None:
        return ()
    with open_checkpoint(path) as checkpoint:
        model = inspection.inspect(checkpoint).model
        absent = sorted({name.split(".")[0] for name in tensors if name not in checkpoint.tensors})
    if model.version and version not in model.version.split(" or "):
        raise UsageError(
            tr(
                "is a {stored} checkpoint ({evidence}), the checkout is replayed as {version}",
                stored=model.version,
                evidence=listed([str(each) for each in model.evidence], last=""),
                version=version,
            ),
            path,
        )
    if not absent:
        return ()
    return (tr("{path}: lacks {parts}: fresh weights there", path=path, parts=listed(absent, last="")),)


def _plain(path: str | None, folder: str, name: str, *, generator: bool) -> str | None:
    """Write a checkpoint's tensors to a file of nothing else, which any torch reads without executing anything."""
    if path is None:
        return None
    with open_checkpoint(path) as checkpoint:
        if generator:
            found = inspection.inspect(checkpoint)
            if found.verdict not in FIT_TO_TRAIN:
                raise UsageError(
                    tr("its codebook is {verdict}: a replay from it would prove nothing", verdict=word(found.verdict)),
                    path,
                )
        state = {tensor: read_tensor(checkpoint, tensor) for tensor in checkpoint.tensors}
    target = os.path.join(folder, f"{name}.pt")
    torch.save(state, target)
    return target
