"""Items of training data, and the batch that upstream's collate makes of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from vqcheck.errors import UsageError


@dataclass(frozen=True)
class Item:
    """One utterance: ssl `[dim, S]`, spec `[bins, T]`, wav `[1, W]` (all float32), text `[L]`, sv_emb `[D]` or None."""

    name: str
    ssl: Tensor
    spec: Tensor
    wav: Tensor
    text: Tensor
    sv_emb: Tensor | None = None


@dataclass(frozen=True)
class Batch:
    """What a training step takes.

    ssl `[B, dim, S]`, spec `[B, bins, T]`, wav `[B, 1, W]` (float32, zero padded), spec_lengths, text_lengths `[B]`,
    text `[B, L]` (int64, padded with 0), sv_emb `[B, D]` (Pro only).
    """

    ssl: Tensor
    spec: Tensor
    spec_lengths: Tensor
    wav: Tensor
    text: Tensor
    text_lengths: Tensor
    sv_emb: Tensor | None

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on another device."""
        return Batch(
            self.ssl.to(device),
            self.spec.to(device),
            self.spec_lengths.to(device),
            self.wav.to(device),
            self.text.to(device),
            self.text_lengths.to(device),
            None if self.sv_emb is None else self.sv_emb.to(device),
        )


def fit_features(ssl: Tensor, frames: int) -> Tensor:
    """Return ssl `[dim, S]`, with its last frame repeated once if S is not the number of spectrogram frames."""
    return ssl if ssl.size(1) == frames else functional.pad(ssl, (0, 1), mode="replicate")


def collate(items: Sequence[Item]) -> Batch:
    """Return a batch: rows by spectrogram length, longest first; frames padded to an even number above the longest.

    Raises:
        UsageError: features and spectrogram have different numbers of frames, which no training step can align.

    """
    items = sorted(items, key=lambda item: -item.spec.size(1))
    ssl = _stacked([item.ssl for item in items], _even_above(max(item.ssl.size(1) for item in items)))
    spec = _stacked([item.spec for item in items], _even_above(max(item.spec.size(1) for item in items)))
    if ssl.size(2) != spec.size(2):
        worst = max(items, key=lambda item: abs(item.ssl.size(1) - item.spec.size(1)))
        raise UsageError(
            f"item {worst.name!r}: its features have {worst.ssl.size(1)} frames, its audio {worst.spec.size(1)}"
        )
    vectors = [item.sv_emb for item in items if item.sv_emb is not None]
    return Batch(
        ssl=ssl,
        spec=spec,
        spec_lengths=torch.tensor([item.spec.size(1) for item in items]),
        wav=_stacked([item.wav for item in items], max(item.wav.size(1) for item in items)),
        text=_stacked([item.text for item in items], max(item.text.size(0) for item in items)),
        text_lengths=torch.tensor([item.text.size(0) for item in items]),
        sv_emb=torch.stack(vectors) if vectors else None,
    )


def _even_above(length: int) -> int:
    return 2 * (length // 2 + 1)


def _stacked(tensors: Sequence[Tensor], length: int) -> Tensor:
    return torch.stack([functional.pad(tensor, (0, length - tensor.size(-1))) for tensor in tensors])
