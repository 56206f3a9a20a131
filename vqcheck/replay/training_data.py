"""What a replay trains on: generated items, or those of an experiment directory, loaded as upstream's loader does.

Where upstream trains on zeros because an item cannot be loaded, this is an error that names the item.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, Protocol

import torch
from torch import Tensor

from vqcheck.errors import CheckpointError, UsageError
from vqcheck.experiment.audio import read_wav
from vqcheck.experiment.config import Config
from vqcheck.experiment.directory import Entry, Experiment, read_experiment
from vqcheck.experiment.item_tensors import read_speaker_vector, read_ssl
from vqcheck.experiment.phones import ids_from_file, ids_in_sorted_order
from vqcheck.replay.batches import BOUNDARIES, Item, TrainingBatch, collate, endless_batches, fit_features
from vqcheck.replay.generated_data import GeneratedData
from vqcheck.replay.surroundings import rank, world_size
from vqcheck.synthesizer import InputError, SpectrogramSettings, linear_spectrogram

_FEATURE_ITEMS: Final = 64
"""Items whose features fill a fresh codebook."""
_CACHED_ITEMS: Final = 128


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
        count, seed = config.data.generated_items, config.replay.seed
        return GeneratedData(count, seed, spectrogram, ssl_dim, symbols, sv_dim)
    if config.subject.version == "tiny":
        raise UsageError("subject.version = 'tiny' takes generated data only; choose v1, v2, v2Pro or v2ProPlus")
    experiment = read_experiment(config.data.exp_dir, with_speakers=sv_dim is not None)
    return RecordedData(experiment, spectrogram, ssl_dim, symbols, sv_dim, config.data.symbols)


def first_batch(config: Config, dataset: Dataset) -> list[int]:
    """Load every batch of this process once, so that a bad item ends the replay before it begins; return the first.

    Raises:
        UsageError: no item is long enough, or one cannot be used.

    """
    plan = endless_batches(dataset.lengths, config.training.batch_size, rank(), world_size())
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


def endless_training_batches(config: Config, dataset: Dataset) -> Iterator[tuple[int, TrainingBatch]]:
    """Yield (epoch, batch) of this process, for one epoch after another."""
    plan = endless_batches(dataset.lengths, config.training.batch_size, rank(), world_size())
    for epoch, positions in plan:
        yield epoch, collate([dataset.item(position) for position in positions])


class RecordedData:
    """Loads items when they are asked for, and keeps the latest ones."""

    def __init__(
        self,
        experiment: Experiment,
        settings: SpectrogramSettings,
        ssl_dim: int,
        table_size: int,
        sv_dim: int | None,
        symbols: str | None,
    ) -> None:
        self._settings, self._ssl_dim, self._sv_dim = settings, ssl_dim, sv_dim
        self._ids, skipped = _phone_ids(experiment, table_size, symbols)
        self._list = [entry for entry in experiment.training_list() if entry.name not in skipped]
        if not self._list:
            raise UsageError(f"every item of {experiment.folder} has a phone that is not in it", symbols or "")
        self._cache: dict[str, Item] = {}
        self.lengths = [entry.frames for entry in self._list]
        self.description = f"{len(experiment.entries) - len(skipped)} items of {experiment.folder}"
        self.notes = tuple(_notes({**experiment.left_out, **skipped}, symbols))

    def item(self, position: int) -> Item:
        """Return one item.

        Raises:
            UsageError: its audio or features cannot be used; the text names the item.

        """
        entry = self._list[position]
        if entry.name not in self._cache:
            if len(self._cache) >= _CACHED_ITEMS:
                self._cache.pop(next(iter(self._cache)))
            try:
                self._cache[entry.name] = self._load(entry)
            except (UsageError, CheckpointError, InputError) as error:
                raise UsageError(f"item {entry.name!r}: {error}") from None
        return self._cache[entry.name]

    def _load(self, entry: Entry) -> Item:
        wav = torch.from_numpy(read_wav(entry.audio, self._settings.sampling_rate))[None]
        spec = linear_spectrogram(wav, self._settings)[0]
        ssl = torch.from_numpy(read_ssl(entry.features, self._ssl_dim))
        vector = None
        if self._sv_dim and entry.speaker:
            vector = torch.from_numpy(read_speaker_vector(entry.speaker, self._sv_dim))
        text = torch.tensor([self._ids[symbol] for symbol in entry.phones])
        return Item(entry.name, fit_features(ssl, spec.size(1)), spec, wav, text, vector)


def _phone_ids(
    experiment: Experiment, table_size: int, symbols: str | None
) -> tuple[Mapping[str, int], Mapping[str, str]]:
    """Return symbol -> id, and item -> reason for those that upstream skips because of an unknown symbol."""
    if symbols is None:
        return ids_in_sorted_order((entry.phones for entry in experiment.entries), table_size), {}
    ids = ids_from_file(symbols, table_size)
    unknown = {
        entry.name: next(symbol for symbol in entry.phones if symbol not in ids)
        for entry in experiment.entries
        if any(symbol not in ids for symbol in entry.phones)
    }
    return ids, {name: f"has the unknown phone {symbol!r}" for name, symbol in unknown.items()}


def _notes(left_out: Mapping[str, str], symbols: str | None) -> list[str]:
    notes = []
    if left_out:
        shown = "; ".join(f"{name} {why}" for name, why in list(left_out.items())[:3])
        more = f"; and {len(left_out) - 3} more" if len(left_out) > 3 else ""
        notes.append(f"left out, as upstream does: {shown}{more}")
    if symbols is None:
        notes.append("phones have ids in sorted order, not upstream's (data.symbols); the VQ encoder never sees them")
    return notes
