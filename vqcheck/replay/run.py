"""The replay: everything that can be wrong is found out first, then arm after arm is run."""

import dataclasses
from collections.abc import Sequence
from functools import partial

import torch

from vqcheck.errors import UsageError
from vqcheck.experiment.config import Config
from vqcheck.replay import ranks
from vqcheck.replay.arm import ArmRun, Conditions
from vqcheck.replay.batch import collate
from vqcheck.replay.dataset import first_batch, make_dataset, some_features
from vqcheck.replay.device import choose_device, choose_fp16, device_name
from vqcheck.replay.run_arms import Observer, Ran, Silent, run_arms
from vqcheck.replay.step import MakeScaler, gradient_scaler
from vqcheck.replay.strategies import Strategy, choose, with_control
from vqcheck.replay.subject import Subject, make_start
from vqcheck.replay.torch_settings import upstream_settings
from vqcheck.replay.trace import Replay, Setting
from vqcheck.synthesizer import SynthesizerError

_TINY_THREADS = 1
"""For networks this small several threads wait for each other more than they work."""


def replay(
    config: Config,
    observer: Observer | None = None,
    save: str | None = None,
    *,
    make_scaler: MakeScaler = gradient_scaler,
) -> Replay:
    """Run every chosen strategy on the same start, and return what was measured.

    An interruption (Ctrl-C) or a failure in the middle ends it early: what was measured so far is returned, not
    complete. `save` is a folder for each arm's final checkpoint, `make_scaler` makes our own step's gradient scaler.

    Raises:
        UsageError, CheckpointError: something in the configuration keeps it from starting.

    """
    observer = observer or Silent()
    if config.subject.factory and config.subject.checkout:
        raise UsageError("subject: factory and checkout exclude each other")
    if config.subject.factory:
        from vqcheck.replay.run_factory import replay_factory

        return replay_factory(config, observer, save)
    if config.subject.checkout:
        from vqcheck.replay.checkout.run import replay_checkout

        return replay_checkout(config, observer, save)
    if config.subject.version in ("v3", "v4"):
        version = config.subject.version
        raise UsageError(f"{version} learns by another step; it is replayed from your own GPT-SoVITS (--checkout)")
    if save and ranks.rank() == 0:
        from vqcheck.replay.save import check_folder

        check_folder(save)
    strategies = _chosen(config)
    device = choose_device(config.replay.device)
    fp16 = choose_fp16(config, device)
    threads = _TINY_THREADS if config.subject.version == "tiny" else None
    with upstream_settings(device, threads), ranks.process_group(device):
        try:
            conditions = dataclasses.replace(prepare(config, device, fp16), make_scaler=make_scaler)
            ran = _run(conditions, strategies, observer, save)
        except SynthesizerError as error:
            raise UsageError(f"data and model do not fit: {error}") from None
        return Replay(_setting(conditions), ran.arms, ran.complete, ran.failure)


def prepare(config: Config, device: torch.device, fp16: bool) -> Conditions:
    """Load and check everything an arm needs: networks, data, weights, the probe."""
    subject = Subject(config)
    model = subject.outline
    symbols = model.enc_p.text_embedding.num_embeddings
    sv_dim = model.sv_emb.in_features if model.is_v2pro else None
    dataset = make_dataset(config, subject.spectrogram, model.ssl_proj.in_channels, symbols, sv_dim)
    first = first_batch(config, dataset)
    start = make_start(subject, config, some_features(dataset))
    probe = collate([dataset.item(position) for position in first]).ssl
    return Conditions(subject, start, config, dataset, probe, device, fp16)


def planned(config: Config) -> list[str]:
    """Return the names of the arms that a replay will have.

    Raises:
        UsageError: a strategy is unknown.

    """
    return [strategy.name for strategy in _chosen(config)]


def _chosen(config: Config) -> list[Strategy]:
    if config.subject.factory:
        from vqcheck.replay.run_factory import chosen

        return chosen(config)
    if config.subject.checkout:
        from vqcheck.replay.checkout.run import chosen_for_checkout

        return chosen_for_checkout(config)
    choose(list(config.expected))
    return with_control(choose(config.replay.strategies), config.expected)


def _run(conditions: Conditions, strategies: Sequence[Strategy], observer: Observer, save: str | None) -> Ran:
    makers = {strategy.name: partial(ArmRun, conditions, strategy) for strategy in strategies}
    return run_arms(makers, observer, lambda arm, name: _save(arm, save, name) if save and ranks.rank() == 0 else None)


def _save(arm: ArmRun, folder: str, strategy: str) -> str:
    from vqcheck.replay.save import save_checkpoints

    return save_checkpoints(arm, folder, strategy)


def _setting(conditions: Conditions) -> Setting:
    config = conditions.config
    return Setting(
        subject=conditions.subject.version,
        weights=conditions.start.weights,
        data=conditions.dataset.description,
        steps=config.replay.steps,
        batch_size=config.training.batch_size,
        seed=config.replay.seed,
        device=device_name(conditions.device),
        precision="fp16" if conditions.fp16 else "fp32",
        processes=ranks.world_size(),
        torch=str(torch.__version__),
        probe_tokens=conditions.probe.shape[0] * (conditions.probe.shape[2] // 2),
        notes=(*conditions.start.notes, *conditions.dataset.notes),
    )
