"""The replay: everything that can be wrong is found out first, then arm after arm is run."""

import platform
from collections.abc import Sequence
from functools import partial
from itertools import islice

import torch

from vqcheck.errors import UsageError
from vqcheck.experiment.config import Config
from vqcheck.replay import ranks
from vqcheck.replay.arm import ArmRun, Conditions, Dataset
from vqcheck.replay.batch import collate
from vqcheck.replay.run_arms import Observer, Silent, run_arms
from vqcheck.replay.sampler import BOUNDARIES, endless_batches
from vqcheck.replay.strategies import Strategy, choose, with_control
from vqcheck.replay.subject import Subject, make_start
from vqcheck.replay.torch_settings import upstream_settings
from vqcheck.replay.trace import Arm, Replay, Setting
from vqcheck.synthesizer import SynthesizerError

_TINY_THREADS = 1
"""For networks this small several threads wait for each other more than they work."""
_FEATURE_ITEMS = 64
"""Items whose features fill a fresh codebook."""


def replay(config: Config, observer: Observer | None = None, save: str | None = None) -> Replay:
    """Run every chosen strategy on the same start, and return what was measured.

    An interruption (Ctrl-C) ends it early: what was measured so far is returned, not complete. `save` is a folder for
    each arm's final checkpoint.

    Raises:
        UsageError, CheckpointError: something in the configuration keeps it from starting.

    """
    observer = observer or Silent()
    if config.subject.factory:
        from vqcheck.replay.run_factory import replay_factory

        return replay_factory(config, observer, save)
    strategies = _chosen(config)
    device = choose_device(config.replay.device)
    fp16 = choose_fp16(config, device)
    threads = _TINY_THREADS if config.subject.version == "tiny" else None
    with upstream_settings(device, threads), ranks.process_group(device):
        try:
            conditions = prepare(config, device, fp16)
            arms, complete = _run(conditions, strategies, observer, save)
        except SynthesizerError as error:
            raise UsageError(f"data and model do not fit: {error}") from None
        return Replay(_setting(conditions), arms, complete)


def prepare(config: Config, device: torch.device, fp16: bool) -> Conditions:
    """Load and check everything an arm needs: networks, data, weights, the probe."""
    subject = Subject(config)
    dataset = _dataset(config, subject)
    first = _check_items(config, dataset)
    start = make_start(subject, config, _features(dataset))
    probe = collate([dataset.item(position) for position in first]).ssl
    return Conditions(subject, start, config, dataset, probe, device, fp16)


def choose_device(name: str) -> torch.device:
    """Return the device; auto is CUDA where there is one.

    Raises:
        UsageError: CUDA was asked for and is not there, or the name is no device.

    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"device {name!r}: expected auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"device {name!r}: expected auto, cpu, cuda or cuda:N")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        index = ranks.local_rank() if device.index is None else device.index
        if index >= count:
            raise UsageError(f"device {name!r}: this torch {torch.__version__} sees {count} CUDA devices")
        return torch.device("cuda", index)
    return device


def choose_fp16(config: Config, device: torch.device) -> bool:
    """Return whether to train in half precision; on a CPU upstream's autocast does nothing.

    Raises:
        UsageError: fp16 was asked for on a CPU.

    """
    if config.replay.precision == "fp16" and device.type != "cuda":
        raise UsageError("precision fp16: needs CUDA (on a CPU upstream's autocast does nothing)")
    if config.replay.precision == "auto":
        return config.training.fp16_run and device.type == "cuda"
    return config.replay.precision == "fp16"


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
    choose(list(config.expected))
    return with_control(choose(config.replay.strategies), config.expected)


def _run(
    conditions: Conditions, strategies: Sequence[Strategy], observer: Observer, save: str | None
) -> tuple[tuple[Arm, ...], bool]:
    makers = {strategy.name: partial(ArmRun, conditions, strategy) for strategy in strategies}
    return run_arms(makers, observer, lambda arm, name: _save(arm, save, name) if save and ranks.rank() == 0 else None)


def _save(arm: ArmRun, folder: str, strategy: str) -> str:
    from vqcheck.replay.save import save_checkpoints

    return save_checkpoints(arm, folder, strategy)


def _dataset(config: Config, subject: Subject) -> Dataset:
    model = subject.outline
    ssl_dim, symbols = model.ssl_proj.in_channels, model.enc_p.text_embedding.num_embeddings
    sv_dim = model.sv_emb.in_features if model.is_v2pro else None
    if config.data.exp_dir is None:
        from vqcheck.replay.generated import GeneratedData

        count, seed = config.data.generated_items, config.replay.seed
        return GeneratedData(count, seed, subject.spectrogram, ssl_dim, symbols, sv_dim)
    from vqcheck.experiment.directory import read_experiment
    from vqcheck.replay.recorded import RecordedData

    if config.subject.version == "tiny":
        raise UsageError("subject.version = 'tiny' takes generated data only; choose v1, v2, v2Pro or v2ProPlus")
    experiment = read_experiment(config.data.exp_dir, with_speakers=model.is_v2pro)
    return RecordedData(experiment, subject.spectrogram, ssl_dim, symbols, sv_dim, config.data.symbols)


def _check_items(config: Config, dataset: Dataset) -> list[int]:
    """Load every batch of this process once, so that a bad item ends the replay before it begins; return the first."""
    plan = endless_batches(dataset.lengths, config.training.batch_size, ranks.rank(), ranks.world_size())
    batches = [positions for _, positions in islice(plan, config.replay.steps)]
    if not batches:
        raise UsageError(f"{dataset.description}: none is long enough to train on (more than {BOUNDARIES[0]} frames)")
    checked: set[tuple[int, ...]] = set()
    for positions in batches:
        if tuple(positions) not in checked:
            checked.add(tuple(positions))
            collate([dataset.item(position) for position in positions])
    return batches[0]


def _features(dataset: Dataset) -> list[torch.Tensor]:
    return [dataset.item(position).ssl for position in range(min(len(dataset.lengths), _FEATURE_ITEMS))]


def _setting(conditions: Conditions) -> Setting:
    config = conditions.config
    return Setting(
        subject=conditions.subject.version,
        weights=conditions.start.weights,
        data=conditions.dataset.description,
        steps=config.replay.steps,
        batch_size=config.training.batch_size,
        seed=config.replay.seed,
        device=torch.cuda.get_device_name(conditions.device) if conditions.device.type == "cuda" else _processor(),
        precision="fp16" if conditions.fp16 else "fp32",
        processes=ranks.world_size(),
        torch=str(torch.__version__),
        probe_tokens=conditions.probe.shape[0] * (conditions.probe.shape[2] // 2),
        notes=(*conditions.start.notes, *conditions.dataset.notes),
    )


def _processor() -> str:
    threads = torch.get_num_threads()
    return f"CPU ({platform.machine()}, {threads} thread{'s' * (threads != 1)})"
