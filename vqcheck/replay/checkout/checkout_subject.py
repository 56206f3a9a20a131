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
from torch.nn import functional

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.codebook import inspection
from vqcheck.codebook.health import FIT_TO_TRAIN
from vqcheck.errors import UsageError
from vqcheck.experiment.config import Config
from vqcheck.live.encoder import LiveEncoder
from vqcheck.live.tensor_change import SourceLine, Write
from vqcheck.replay.checkout.child_process import ChildProcess
from vqcheck.replay.checkout.tensor_json import decoded, encoded
from vqcheck.replay.own_networks import FRESH_WEIGHTS, chosen_preset, read_tensor, step_settings
from vqcheck.replay.s2_training import tokens_of
from vqcheck.replay.strategies import Strategy
from vqcheck.replay.subject import StepReport, Subject
from vqcheck.replay.surroundings import choose_device, choose_fp16, upstream_settings, world_size
from vqcheck.replay.trace import CommitLossState, Setting
from vqcheck.replay.training_data import TrainingData, s2_setting
from vqcheck.synthesizer import Preset, SpectrogramSettings, spec_to_mel

_SIZES_OF: Final = {"tiny": "v2", "v3": "v2", "v4": "v2"}
_MEL_RATES: Final = {"v3": 1.875, "v4": 2.0}
"""Mel frames for one frame of the spectrogram: 93.75 and 100 a second, where a second has 50 of those."""
_MIDDLE, _HALF_RANGE = -5.0, 7.0
"""Log mel values lie between -12 and 2; the flow is learnt on values between -1 and 1."""


class CheckoutSubject(Subject):
    """Loads the tree once, in one child process; each arm builds its networks anew there."""

    child: ChildProcess
    data: TrainingData
    target: "MelTarget | None"
    """What a flow-matching step learns to make."""

    @contextlib.contextmanager
    def opened(self, save: str | None) -> Iterator[None]:
        config, subject = self.config, self.config.subject
        path = _checkout(config)
        if save or world_size() > 1:
            raise UsageError("subject.checkout: is replayed in one process, and its checkpoints are not saved")
        self._device = choose_device(config.replay.device)
        self._fp16 = choose_fp16(config, self._device)
        # tiny is no size of a checkout's, and v3 and v4 have the sizes of v2 as far as these are configured
        preset = chosen_preset(config.changed("subject", version=_SIZES_OF.get(subject.version, subject.version)))
        with (
            tempfile.TemporaryDirectory() as folder,
            upstream_settings(torch.device("cpu"), None),
            ChildProcess(subject.python, path, subject.time_limit) as self.child,
        ):
            request = _request(config, path, preset, self._device, self._fp16, folder)
            self._found = found = self.child.ask(do="load", **request)
            self.config = config.changed("subject", version=found["version"])
            self._notes = _fits(self.config, found["tensors"])
            self.target = _target(found, preset)
            sizes = (found["ssl_dim"], found["table"], found["sv_dim"])
            self.data = TrainingData(self.config, preset.spectrogram, *sizes)
            yield

    def start(self, strategy: Strategy) -> "CheckoutTraining":
        return CheckoutTraining(self, strategy)

    def setting(self) -> Setting:
        config, found = self.config, self._found
        weights = config.subject.pretrained_s2G or FRESH_WEIGHTS
        about = (found["version"], weights, self._notes, found["torch"], _checkout(config))
        return s2_setting(config, self.data, self._device, self._fp16, *about)


class CheckoutTraining:
    """One arm of a checkout: the child trains, and the mirror is kept up to date."""

    def __init__(self, subject: CheckoutSubject, strategy: Strategy) -> None:
        self._child, self._target, self._probe = subject.child, subject.target, subject.data.probe
        self._mirror = Mirror()
        asked = {"strategy": strategy.name, "features": encoded(subject.data.features)}
        self._mirror.update(self._child.ask(do="start", **asked)["tensors"])
        self._batches = subject.data.batches()
        if self.probe_tokens() is None:
            raise UsageError("checkout: its VQ encoder is not a projection with one codebook, as GPT-SoVITS's is")

    @property
    def module(self) -> nn.Module:
        return self._mirror

    def step(self, number: int, traced: LiveEncoder | None) -> StepReport:
        epoch, batch = next(self._batches)
        inputs = batch.inputs()
        if self._target is not None:
            inputs["mel"] = self._target.of(batch.spec)
            inputs["mel_lengths"] = (batch.spec_lengths * self._target.rate).long()
        sent = {name: encoded(value) for name, value in inputs.items()}
        answer = self._child.ask(do="step", number=number, batch=sent, epoch=epoch, trace=traced is not None)
        self._mirror.update(answer["tensors"], answer["gone"])
        report = answer["report"]
        known = {tensor.name for tensor in traced.tensors} if traced else set()
        writes = {name: _write(write) for name, write in report.pop("writes").items() if name in known}
        state = CommitLossState(report.pop("commit_loss_state"))
        return StepReport(**report, commit_loss_state=state, writes=writes)

    def probe_tokens(self) -> Tensor | None:
        return tokens_of(self._mirror, self._probe)


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


def _write(value: Mapping[str, Any]) -> Write:
    caller = value["called_from"]
    return Write(**{**value, "called_from": SourceLine(**caller) if caller else None})


def _checkout(config: Config) -> str:
    path = os.path.abspath(os.path.expanduser(str(config.subject.checkout)))
    models = os.path.join("GPT_SoVITS", "module", "models.py")
    if not os.path.isdir(path):
        raise UsageError(f"checkout {path}: there is no such folder")
    if not os.path.isfile(os.path.join(path, models)):
        raise UsageError(f"checkout {path}: is not a GPT-SoVITS checkout: it has no {models}")
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
        "version": None if config.subject.version == "tiny" else config.subject.version,
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


def _target(found: dict[str, Any], preset: Preset) -> MelTarget | None:
    channels = found["mel_channels"]
    if channels is None:
        return None
    return MelTarget(dataclasses.replace(preset.spectrogram, n_mel_channels=channels), _MEL_RATES[found["version"]])


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
        stored = f"a {model.version} checkpoint ({model.evidence})"
        raise UsageError(f"is {stored}, the checkout is replayed as {version}", path)
    return (f"{path}: lacks {', '.join(absent)}: fresh weights there",) if absent else ()


def _plain(path: str | None, folder: str, name: str, *, generator: bool) -> str | None:
    """Write a checkpoint's tensors to a file of nothing else, which any torch reads without executing anything."""
    if path is None:
        return None
    with open_checkpoint(path) as checkpoint:
        if generator:
            found = inspection.inspect(checkpoint)
            if found.verdict not in FIT_TO_TRAIN:
                raise UsageError(f"its codebook is {found.verdict}: a replay from it would prove nothing", path)
        state = {tensor: read_tensor(checkpoint, tensor) for tensor in checkpoint.tensors}
    target = os.path.join(folder, f"{name}.pt")
    torch.save(state, target)
    return target
