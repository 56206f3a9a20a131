"""Replays a user's own GPT-SoVITS checkout: its classes, our training step, in a process of its own."""

import dataclasses
import os
import tempfile
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.codebook import inspection
from vqcheck.codebook.health import FIT_TO_TRAIN
from vqcheck.errors import UsageError
from vqcheck.experiment.config import Config
from vqcheck.replay import ranks
from vqcheck.replay.batch import collate
from vqcheck.replay.checkout.checkout_code import CheckoutCode
from vqcheck.replay.checkout.inputs import MEL_RATES, MelTarget
from vqcheck.replay.checkout.mirror import encoded
from vqcheck.replay.checkout.process import ChildProcess
from vqcheck.replay.dataset import Dataset, first_batch, make_dataset, some_features
from vqcheck.replay.device import choose_device, choose_fp16, device_name
from vqcheck.replay.observed import ObservedArm
from vqcheck.replay.run_arms import Observer, run_arms
from vqcheck.replay.strategies import CHECKOUT_STRATEGIES, Strategy, choose, with_control
from vqcheck.replay.subject import chosen_preset
from vqcheck.replay.torch_settings import upstream_settings
from vqcheck.replay.trace import AS_IS, Replay, Setting
from vqcheck.replay.weights import read_tensor
from vqcheck.synthesizer import Preset, SynthesizerError
from vqcheck.synthesizer.spectrogram import mel_filter_bank

_SIZES_OF: Final = {"tiny": "v2", "v3": "v2", "v4": "v2"}


def replay_checkout(config: Config, observer: Observer, save: str | None) -> Replay:
    """Run the tree's networks as they are, and under the strategies that were named, applied from outside.

    Raises:
        UsageError: the path is no checkout, its Python lacks packages, the tree is another one than it should be,
            raises, or takes too long.
        CheckpointError: a pretrained file cannot be read.

    """
    path = _checkout(config)
    if save or ranks.world_size() > 1:
        raise UsageError("subject.checkout: is replayed in one process, and its checkpoints are not saved")
    strategies = chosen_for_checkout(config)
    device = choose_device(config.replay.device)
    fp16 = choose_fp16(config, device)
    subject = config.subject
    # tiny is no size of a checkout's, and v3 and v4 have the sizes of v2 as far as these are configured
    preset = chosen_preset(config.changed("subject", version=_SIZES_OF.get(subject.version, subject.version)))
    with (
        tempfile.TemporaryDirectory() as folder,
        upstream_settings(torch.device("cpu"), None),
        ChildProcess(subject.python, path, subject.time_limit) as child,
    ):
        try:
            request = _request(config, path, preset, device, fp16, folder)
            found = child.ask(do="load", **request)
            config = config.changed("subject", version=found["version"])
            notes = _fits(config, found["tensors"])
            target = _target(found, preset)
            dataset = make_dataset(config, preset.spectrogram, found["ssl_dim"], found["table"], found["sv_dim"])
            batch = first_batch(config, dataset)
            probe = collate([dataset.item(position) for position in batch]).ssl
            features = torch.cat(some_features(dataset), dim=1)[None]
            makers = {
                strategy.name: partial(_arm, child, strategy, config, dataset, target, probe, features)
                for strategy in strategies
            }
            ran = run_arms(makers, observer)
        except SynthesizerError as error:
            raise UsageError(f"data and model do not fit: {error}") from None
    setting = _setting(config, path, found, dataset, notes, probe, device, fp16)
    return Replay(setting, ran.arms, ran.complete, ran.failure)


def chosen_for_checkout(config: Config) -> list[Strategy]:
    """Return the arms: a control if none was named, the tree as it is, and what was named.

    Raises:
        UsageError: a strategy is unknown.

    """
    choose(list(config.expected), CHECKOUT_STRATEGIES)
    # the default strategies are those of our synthesizer
    named = config.replay.strategies if "strategies" in config.replay.model_fields_set else []
    arms = choose([AS_IS, *named], CHECKOUT_STRATEGIES)
    # a tree that is expected to drift is no control for itself
    others = with_control([arm for arm in arms if arm.name != AS_IS], config.expected)
    return [arms[0], *others]


def _checkout(config: Config) -> str:
    path = os.path.abspath(os.path.expanduser(str(config.subject.checkout)))
    models = os.path.join("GPT_SoVITS", "module", "models.py")
    if not os.path.isdir(path):
        raise UsageError(f"checkout {path}: there is no such folder")
    if not os.path.isfile(os.path.join(path, models)):
        raise UsageError(f"checkout {path}: is no GPT-SoVITS checkout: it has no {models}")
    return path


def _request(
    config: Config, path: str, preset: Preset, device: torch.device, fp16: bool, folder: str
) -> dict[str, Any]:
    sizes = {**preset.model, **config.model.model_dump(exclude_none=True)}
    del sizes["version"]
    sizes["freeze_quantizer"] = config.subject.freeze_quantizer
    spectrogram = preset.spectrogram
    bank = mel_filter_bank(
        spectrogram.sampling_rate,
        spectrogram.filter_length,
        spectrogram.n_mel_channels,
        spectrogram.mel_fmin,
        spectrogram.mel_fmax,
    )
    return {
        "checkout": path,
        # tiny is a size of ours; of a tree it means the newest version that it knows
        "version": None if config.subject.version == "tiny" else config.subject.version,
        "generator": config.subject.generator,
        "model": sizes,
        "use_spectral_norm": bool(config.discriminator.use_spectral_norm),
        "spec_channels": spectrogram.spec_channels,
        "segment": preset.segment_size,
        "seed": config.replay.seed,
        "device": str(device),
        "fp16": fp16,
        "training": config.training.model_dump(),
        "spectrogram": {name: getattr(spectrogram, name) for name in ("filter_length", "hop_length", "win_length")},
        "filters": encoded(bank),
        "pretrained_g": _plain(config.subject.pretrained_s2G, folder, "g", generator=True),
        "pretrained_d": _plain(config.subject.pretrained_s2D, folder, "d", generator=False),
    }


def _target(found: dict[str, Any], preset: Preset) -> MelTarget | None:
    channels = found["mel_channels"]
    if channels is None:
        return None
    return MelTarget(dataclasses.replace(preset.spectrogram, n_mel_channels=channels), MEL_RATES[found["version"]])


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
        raise UsageError(f"{path}: is {stored}, the checkout is replayed as {version}")
    return (f"{path}: lacks {', '.join(absent)}: fresh weights there",) if absent else ()


def _plain(path: str | None, folder: str, name: str, *, generator: bool) -> str | None:
    """Write a checkpoint's tensors to a file of nothing else, which any torch reads without executing anything."""
    if path is None:
        return None
    with open_checkpoint(path) as checkpoint:
        if generator:
            found = inspection.inspect(checkpoint)
            if found.verdict not in FIT_TO_TRAIN:
                raise UsageError(f"{path}: its codebook is {found.verdict}: a replay from it would prove nothing")
        state = {tensor: read_tensor(checkpoint, tensor) for tensor in checkpoint.tensors}
    target = os.path.join(folder, f"{name}.pt")
    torch.save(state, target)
    return target


def _arm(
    child: ChildProcess,
    strategy: Strategy,
    config: Config,
    dataset: Dataset,
    target: MelTarget | None,
    probe: Tensor,
    features: Tensor,
) -> ObservedArm:
    code = CheckoutCode(child, strategy.name, config, dataset, target, probe, features)
    expected = config.expected.get(strategy.name, strategy.expected)
    return ObservedArm(code, strategy, expected, config.replay.steps)


def _setting(
    config: Config,
    path: str,
    found: dict[str, Any],
    dataset: Dataset,
    notes: tuple[str, ...],
    probe: Tensor,
    device: torch.device,
    fp16: bool,
) -> Setting:
    return Setting(
        subject=found["version"],
        weights=config.subject.pretrained_s2G or "fresh, codes are frames of the data",
        data=dataset.description,
        steps=config.replay.steps,
        batch_size=config.training.batch_size,
        seed=config.replay.seed,
        device=device_name(device),
        precision="fp16" if fp16 else "fp32",
        processes=1,
        torch=found["torch"],
        probe_tokens=probe.shape[0] * (probe.shape[2] // 2),
        notes=(*notes, *dataset.notes),
        code=path,
    )
