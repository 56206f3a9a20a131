"""Items of training data, which of them stand in which batch, and what upstream's collate makes of them."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from vqcheck.errors import UsageError
from vqcheck.language import tr
from vqcheck.synthesizer import MelTarget, SpectrogramSettings, normalised_mel, resample

BOUNDARIES: Final = (32, *range(300, 2000, 100))
"""Limits of the buckets in spectrogram frames; an item of 32 frames or fewer, or of more than 1900, is left out."""
FLOW_BOUNDARIES: Final = (32, *range(300, 1100, 100))
"""Those of v3 and v4: 20 seconds at most."""


@dataclass(frozen=True)
class ModelInputs:
    """What a model takes of each item."""

    spectrogram: SpectrogramSettings
    ssl_dim: int
    symbols: int
    """Of its table."""
    sv_dim: int | None = None
    """Of the Pro versions' speaker vector."""
    mel: MelTarget | None = None
    """What it learns to make, if it matches flows."""

    def mel_of(self, wav: Tensor) -> Tensor | None:
        """Return the mel `[mels, M]` of wav `[1, W]`; None for a model that takes none.

        Upstream reads the audio again for it, at the mel's own sampling rate.
        """
        if self.mel is None:
            return None
        settings = self.mel.settings(self.spectrogram)
        wav = resample(wav, self.spectrogram.sampling_rate, settings.sampling_rate)
        return normalised_mel(wav, settings)[0]


@dataclass(frozen=True)
class Item:
    """One utterance: ssl `[dim, S]`, spec `[bins, T]`, wav `[1, W]` (all float32), text `[L]`.

    sv_emb `[D]` and the normalised mel `[mels, M]` are None where the model takes none.
    """

    name: str
    ssl: Tensor
    spec: Tensor
    wav: Tensor
    text: Tensor
    sv_emb: Tensor | None = None
    mel: Tensor | None = None


@dataclass(frozen=True)
class TrainingBatch:
    """What a training step takes.

    ssl `[B, dim, S]`, spec `[B, bins, T]`, wav `[B, 1, W]` (float32, zero padded), spec_lengths, text_lengths `[B]`,
    text `[B, L]` (int64, padded with 0), sv_emb `[B, D]` (Pro only), mel `[B, mels, M]` and mel_lengths `[B]` (v3 and
    v4 only; 0, which pads it, is no silence in it).
    """

    ssl: Tensor
    spec: Tensor
    spec_lengths: Tensor
    wav: Tensor
    text: Tensor
    text_lengths: Tensor
    sv_emb: Tensor | None
    mel: Tensor | None = None
    mel_lengths: Tensor | None = None

    def inputs(self) -> dict[str, Tensor]:
        """Return what a training step takes, under the names that GPT-SoVITS's `forward` has for it, and `wav`."""
        inputs = {
            "ssl": self.ssl,
            "ssl_lengths": self.spec_lengths,
            "y": self.spec,
            "y_lengths": self.spec_lengths,
            "text": self.text,
            "text_lengths": self.text_lengths,
            "wav": self.wav,
        }
        more = {"sv_emb": self.sv_emb, "mel": self.mel, "mel_lengths": self.mel_lengths}
        return {**inputs, **{name: value for name, value in more.items() if value is not None}}


def fit_features(ssl: Tensor, frames: int) -> Tensor:
    """Return ssl `[dim, S]`, with its last frame repeated once if S is not the number of spectrogram frames."""
    return ssl if ssl.size(1) == frames else functional.pad(ssl, (0, 1), mode="replicate")


def collate(items: Sequence[Item], target: MelTarget | None = None) -> TrainingBatch:
    """Return a batch: rows by spectrogram length, longest first; frames padded to an even number above the longest.

    With a mel target the items have mels, which are padded as it says.

    Raises:
        UsageError: features and spectrogram have different numbers of frames, which no training step can align.

    """
    items = sorted(items, key=lambda item: -item.spec.size(1))
    ssl = _stacked([item.ssl for item in items], _even_above(max(item.ssl.size(1) for item in items)))
    spec = _stacked([item.spec for item in items], _even_above(max(item.spec.size(1) for item in items)))
    if ssl.size(2) != spec.size(2):
        worst = max(items, key=lambda item: abs(item.ssl.size(1) - item.spec.size(1)))
        raise UsageError(
            tr(
                "item {item!r}: its features have {features} frames, its audio {audio}",
                item=worst.name,
                features=worst.ssl.size(1),
                audio=worst.spec.size(1),
            )
        )
    vectors = [item.sv_emb for item in items if item.sv_emb is not None]
    mels = [item.mel for item in items if item.mel is not None]
    return TrainingBatch(
        ssl=ssl,
        spec=spec,
        spec_lengths=torch.tensor([item.spec.size(1) for item in items]),
        wav=_stacked([item.wav for item in items], max(item.wav.size(1) for item in items)),
        text=_stacked([item.text for item in items], max(item.text.size(0) for item in items)),
        text_lengths=torch.tensor([item.text.size(0) for item in items]),
        sv_emb=torch.stack(vectors) if vectors else None,
        mel=_stacked(mels, target.width(max(item.ssl.size(1) for item in items))) if target else None,
        mel_lengths=torch.tensor([mel.size(1) for mel in mels]) if target else None,
    )


def _even_above(length: int) -> int:
    return 2 * (length // 2 + 1)


def _stacked(tensors: Sequence[Tensor], length: int) -> Tensor:
    return torch.stack([functional.pad(tensor, (0, length - tensor.size(-1))) for tensor in tensors])


def is_kept(length: int, boundaries: Sequence[int] = BOUNDARIES) -> bool:
    """Tell whether an item of so many frames is trained on."""
    return bool(boundaries[0] < length <= boundaries[-1])


def epoch_batches(
    lengths: Sequence[int],
    epoch: int,
    batch_size: int,
    rank: int = 0,
    world: int = 1,
    boundaries: Sequence[int] = BOUNDARIES,
) -> list[list[int]]:
    """Return this process's batches of an epoch, as positions in `lengths` (frames).

    Each bucket is shuffled, filled up by repetition to whole batches on every process, and shared out in turns; then
    the batches are shuffled. The draw depends on the epoch alone.
    """
    generator = torch.Generator().manual_seed(epoch)
    buckets: list[list[int]] = [[] for _ in boundaries[1:]]
    for position, length in enumerate(lengths):
        if is_kept(length, boundaries):
            buckets[bisect_left(boundaries, length) - 1].append(position)
    batches: list[list[int]] = []
    for bucket in filter(None, buckets):
        order = [bucket[i] for i in torch.randperm(len(bucket), generator=generator).tolist()]
        whole = -(-len(order) // (batch_size * world)) * batch_size * world
        filled = (order * (-(-whole // len(order))))[:whole]
        own = filled[rank::world]
        batches += [own[start : start + batch_size] for start in range(0, len(own), batch_size)]
    return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]


def endless_batches(
    lengths: Sequence[int], batch_size: int, rank: int = 0, world: int = 1, boundaries: Sequence[int] = BOUNDARIES
) -> Iterator[tuple[int, list[int]]]:
    """Yield (epoch, positions) for one epoch after another, from epoch 1 on; nothing if no item is kept."""
    epoch = 1
    while batches := epoch_batches(lengths, epoch, batch_size, rank, world, boundaries):
        for batch in batches:
            yield epoch, batch
        epoch += 1
