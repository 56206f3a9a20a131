"""What a replay trains on: generated items, or those of an experiment directory, loaded as upstream's loader does.

Where upstream trains on zeros because an item cannot be loaded, this is an error that names the item.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, Protocol

import torch

from vqcheck.errors import CheckpointError, UsageError
from vqcheck.experiment.config import TINY_VERSIONS, Config
from vqcheck.experiment.directory import Entry, Experiment, read_experiment, read_speaker_vector, read_ssl, read_wav
from vqcheck.experiment.name2text import ids_from_file, ids_in_sorted_order
from vqcheck.language import tr
from vqcheck.replay.batches import (
    BOUNDARIES,
    FLOW_BOUNDARIES,
    Item,
    ModelInputs,
    TrainingBatch,
    collate,
    endless_batches,
    fit_features,
)
from vqcheck.replay.generated_data import GeneratedData
from vqcheck.replay.surroundings import device_name, rank, world_size
from vqcheck.replay.trace import Setting
from vqcheck.synthesizer import InputError, linear_spectrogram

_FEATURE_ITEMS: Final = 64
"""Items whose features fill a fresh codebook."""
_CACHED_ITEMS: Final = 128


class Items(Protocol):
    """Items that can be trained on."""

    lengths: list[int]
    """Frames of each."""
    description: str
    """What they are, in a few words."""
    notes: tuple[str, ...]
    """What was left out or assumed."""

    def item(self, position: int) -> Item:
        """Load one item."""


class TrainingData:
    """The configured data for a model that takes such inputs.

    `probe` are features `[B, dim, T]` whose tokens are followed through the training, `features` those `[1, dim, T]`
    that fill a fresh codebook. Every batch of this process is loaded once, so that a bad item ends the replay before it
    begins.

    Raises:
        UsageError: the experiment directory cannot be used, no item is long enough, or one cannot be used.

    """

    def __init__(self, config: Config, inputs: ModelInputs) -> None:
        self.items = items_of(config, inputs)
        self._target = inputs.mel
        self._boundaries = FLOW_BOUNDARIES if inputs.mel else BOUNDARIES
        self._batch_size = config.training.batch_size
        planned = [positions for _, positions in islice(self._plan(), config.replay.steps)]
        if not planned:
            shortest, longest = self._boundaries[0], self._boundaries[-1]
            raise UsageError(
                tr(
                    "none is of a length that is trained on (more than {shortest} frames, at most {longest})",
                    shortest=shortest,
                    longest=longest,
                ),
                self.items.description,
            )
        for positions in dict.fromkeys(map(tuple, planned)):
            self._batch(positions)
        self.probe = self._batch(planned[0]).ssl
        first = range(min(len(self.items.lengths), _FEATURE_ITEMS))
        self.features = torch.cat([self.items.item(position).ssl for position in first], dim=1)[None]

    def batches(self) -> Iterator[tuple[int, TrainingBatch]]:
        """Yield (epoch, batch) of this process, for one epoch after another."""
        for epoch, positions in self._plan():
            yield epoch, self._batch(positions)

    @property
    def probe_tokens(self) -> int:
        """Tokens of the probe, of two frames each."""
        return self.probe.shape[0] * (self.probe.shape[2] // 2)

    def _plan(self) -> Iterator[tuple[int, list[int]]]:
        return endless_batches(self.items.lengths, self._batch_size, rank(), world_size(), self._boundaries)

    def _batch(self, positions: Sequence[int]) -> TrainingBatch:
        return collate([self.items.item(position) for position in positions], self._target)


def s2_setting(
    config: Config,
    data: TrainingData,
    device: torch.device,
    fp16: bool,
    version: str,
    weights: str,
    notes: tuple[str, ...],
    version_of_torch: str = str(torch.__version__),
    code: str | None = None,
) -> Setting:
    """Return what was replayed, for networks of GPT-SoVITS."""
    return Setting(
        subject=version,
        weights=weights,
        data=data.items.description,
        steps=config.replay.steps,
        batch_size=config.training.batch_size,
        seed=config.replay.seed,
        device=device_name(device),
        precision="fp16" if fp16 else "fp32",
        processes=world_size(),
        torch=version_of_torch,
        probe_tokens=data.probe_tokens,
        notes=(*notes, *data.items.notes),
        code=code,
    )


def trained_as(config: Config) -> str:
    """Return the version, and LoRA's rank where it is trained with LoRA."""
    rank = config.training.lora_rank
    return f"{config.subject.version} LoRA (rank {rank})" if rank else config.subject.version


def items_of(config: Config, inputs: ModelInputs) -> Items:
    """Return the configured items.

    Raises:
        UsageError: the experiment directory cannot be used.

    """
    if config.data.exp_dir is None:
        count, seed = config.data.generated_items, config.replay.seed
        return GeneratedData(count, seed, inputs)
    if config.subject.version in TINY_VERSIONS:
        raise UsageError(
            tr(
                "subject.version = {version!r} takes generated data only; choose a version of GPT-SoVITS",
                version=config.subject.version,
            )
        )
    experiment = read_experiment(config.data.exp_dir, with_speakers=inputs.sv_dim is not None)
    return RecordedData(experiment, inputs, config.data.symbols)


class RecordedData:
    """Loads items when they are asked for, and keeps the latest ones."""

    def __init__(self, experiment: Experiment, inputs: ModelInputs, symbols: str | None) -> None:
        self._inputs = inputs
        self._ids, skipped = _phone_ids(experiment, inputs.symbols, symbols)
        self._list = [entry for entry in experiment.training_list() if entry.name not in skipped]
        if not self._list:
            raise UsageError(
                tr("every item of {folder} has a phone that is not in it", folder=experiment.folder), symbols or ""
            )
        self._cache: dict[str, Item] = {}
        self.lengths = [entry.frames for entry in self._list]
        count = len(experiment.entries) - len(skipped)
        self.description = tr("{number} items of {folder}", number=count, folder=experiment.folder)
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
                raise UsageError(tr("item {item!r}: {reason}", item=entry.name, reason=str(error))) from None
        return self._cache[entry.name]

    def _load(self, entry: Entry) -> Item:
        inputs = self._inputs
        wav = torch.from_numpy(read_wav(entry.audio, inputs.spectrogram.sampling_rate))[None]
        spec = linear_spectrogram(wav, inputs.spectrogram)[0]
        ssl = torch.from_numpy(read_ssl(entry.features, inputs.ssl_dim))
        vector = None
        if inputs.sv_dim and entry.speaker:
            vector = torch.from_numpy(read_speaker_vector(entry.speaker, inputs.sv_dim))
        text = torch.tensor([self._ids[symbol] for symbol in entry.phones])
        return Item(entry.name, fit_features(ssl, spec.size(1)), spec, wav, text, vector, inputs.mel_of(wav))


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
    return ids, {name: tr("has the unknown phone {phone!r}", phone=symbol) for name, symbol in unknown.items()}


def _notes(left_out: Mapping[str, str], symbols: str | None) -> list[str]:
    notes = []
    if left_out:
        notes.append(tr("left out, as upstream does: {items}", items=_first_of(list(left_out.items()))))
    if symbols is None:
        notes.append(
            tr("phones have ids in sorted order, not upstream's (data.symbols); the VQ encoder never sees them")
        )
    return notes


def _first_of(items: Sequence[tuple[str, str]], most: int = 3) -> str:
    """Return the first items of some, each with what is wrong with it."""
    name, why = items[0]
    said = tr("{name} {why}", name=name, why=why)
    if len(items) == 1:
        return said
    rest = _first_of(items[1:], most - 1) if most > 1 else tr("and {number} more", number=len(items) - 1)
    return tr("{clause}; {next}", clause=said, next=rest)
