"""What a replay trains on, whichever networks it trains."""

from collections.abc import Sequence
from itertools import islice
from typing import Protocol

from torch import Tensor

from vqcheck.errors import UsageError
from vqcheck.experiment.config import Config
from vqcheck.replay import ranks
from vqcheck.replay.batch import Item, collate
from vqcheck.replay.sampler import BOUNDARIES, endless_batches
from vqcheck.synthesizer import SpectrogramSettings

_FEATURE_ITEMS = 64
"""Items whose features fill a fresh codebook."""


class Dataset(Protocol):
    """Items that can be trained on."""

    @property
    def lengths(self) -> Sequence[int]:
        """Frames of each item."""

    @property
    def description(self) -> str:
        """What it is, in a few words."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out or assumed."""

    def item(self, position: int) -> Item:
        """Load one item."""


def make_dataset(
    config: Config, spectrogram: SpectrogramSettings, ssl_dim: int, symbols: int, sv_dim: int | None
) -> Dataset:
    """Return the configured data for a model that takes so many feature dimensions, symbols and, for Pro, sv_dim.

    Raises:
        UsageError: the experiment directory cannot be used.

    """
    if config.data.exp_dir is None:
        from vqcheck.replay.generated import GeneratedData

        count, seed = config.data.generated_items, config.replay.seed
        return GeneratedData(count, seed, spectrogram, ssl_dim, symbols, sv_dim)
    from vqcheck.experiment.directory import read_experiment
    from vqcheck.replay.recorded import RecordedData

    if config.subject.version == "tiny":
        raise UsageError("subject.version = 'tiny' takes generated data only; choose v1, v2, v2Pro or v2ProPlus")
    experiment = read_experiment(config.data.exp_dir, with_speakers=sv_dim is not None)
    return RecordedData(experiment, spectrogram, ssl_dim, symbols, sv_dim, config.data.symbols)


def first_batch(config: Config, dataset: Dataset) -> list[int]:
    """Load every batch of this process once, so that a bad item ends the replay before it begins; return the first.

    Raises:
        UsageError: no item is long enough, or one cannot be used.

    """
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


def some_features(dataset: Dataset) -> list[Tensor]:
    """Return features `[dim, T]` of the first items, enough to fill a fresh codebook."""
    return [dataset.item(position).ssl for position in range(min(len(dataset.lengths), _FEATURE_ITEMS))]
