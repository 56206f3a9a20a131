"""Derives tokens on a device in half precision, as upstream's extraction does, and asks whether the emulation agrees.

Upstream converts model and features to half precision and takes one recording at a time. Here many are taken at once:
the projection's kernel is as long as its stride, so that no frame's sums have anything of another's in them.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from vqcheck.audit.device_tokens import DeviceTokens
from vqcheck.audit.token_audit import audit_tokens, rows_to_check
from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook.tokenizer import Tokenizer, read_tokenizer
from vqcheck.errors import UsageError
from vqcheck.experiment.features import BatchReader, FeatureFolder
from vqcheck.experiment.name2semantic import Name2Semantic, TokenRow, read_name2semantic
from vqcheck.language import tr
from vqcheck.replay.surroundings import choose_device, device_name

FRAMES: Final = 1 << 14
"""Token frames that a device is given at a time"""
COMPARED: Final = 100_000
"""Frames on which the emulation is compared with a device; one that differs shows it on far fewer"""

Tokens = npt.NDArray[np.intp]


class HalfOnDevice:
    """A VQ encoder in half precision on a device."""

    def __init__(self, tokenizer: Tokenizer, device: torch.device) -> None:
        def halved(values: npt.NDArray[np.floating]) -> Tensor:
            return torch.from_numpy(np.array(values, np.float32, order="C")).to(device).half()

        projection = tokenizer.projection
        _, self.channels, self.taps = projection.weight.shape
        self.device = device
        self._weight = halved(projection.weight)
        self._bias = None if projection.bias is None else halved(projection.bias)
        self._codes_t = halved(tokenizer.codes).t()

    @torch.no_grad()
    def tokens(self, patches: Tensor) -> Tensor:
        """Return the tokens `[frames]` of half-precision inputs `[frames, taps * channels]`, on the device.

        Operations come in upstream's order: |x|^2 - (2 x) e + |e|^2, each rounded to half precision.
        """
        features = patches.to(self.device, non_blocking=True).view(-1, self.channels).t()[None]
        x = functional.conv1d(features, self._weight, self._bias, stride=self.taps)[0].t()
        codes_t = self._codes_t
        distances = -((x.pow(2).sum(1, keepdim=True) - 2 * x @ codes_t) + codes_t.pow(2).sum(0, keepdim=True))
        return distances.max(dim=-1).indices

    def of_rows(self, rows: list[TokenRow], reader: BatchReader) -> Iterator[tuple[int, Tokens]]:
        """Yield (row, its tokens, or the next of them) in order; nothing of rows whose features cannot be used."""
        inputs = torch.empty((FRAMES, self.taps * self.channels), dtype=torch.half)
        if self.device.type == "cuda":
            inputs = inputs.pin_memory()
        into, filled = inputs.numpy(), 0
        waiting: list[tuple[int, int]] = []

        def derived() -> Iterator[tuple[int, Tokens]]:
            tokens = self.tokens(inputs[:filled]).cpu().numpy()
            ends = np.cumsum([count for _, count in waiting])[:-1]
            yield from zip([row for row, _ in waiting], np.split(tokens, ends), strict=True)
            waiting.clear()

        for number, row in enumerate(rows):
            frames, done = reader.frames_of(number, row.item), 0
            while done < len(frames):
                step = min(len(frames) - done, FRAMES - filled)
                with np.errstate(over="ignore"):
                    into[filled : filled + step] = frames[done : done + step]
                waiting.append((number, step))
                done, filled = done + step, filled + step
                if filled == FRAMES:
                    yield from derived()
                    filled = 0
        if filled:
            yield from derived()


def derive_on_device(
    checkpoint: Checkpoint,
    experiment: str,
    device: str,
    *,
    sample: int | None = None,
    copy: str = "",
    on_item: Callable[[int, int], None] | None = None,
) -> DeviceTokens:
    """Return what a device derives from the features of the rows that `audit_tokens` checks.

    The emulation is compared with it on the first `COMPARED` frames of a random choice of these rows. `on_item` is
    called with (rows done, rows in all).

    Raises:
        NoCodebookError, CheckpointError, UsageError: as `audit_tokens`; or there is no such device.

    """
    chosen = choose_device(device)
    recorded, folder = read_name2semantic(experiment), FeatureFolder(experiment)
    rows = rows_to_check(recorded, folder, sample)
    encoder = HalfOnDevice(read_tokenizer(checkpoint, copy), chosen)
    reader = BatchReader(folder.read_frames, encoder.channels, encoder.taps)
    most = COMPARED * len(rows) // max(sum(len(row.tokens) for row in rows), 1) + 1
    kept = {row.line for row in rows_to_check(recorded, folder, min(most, sample or most))}
    frames = as_recorded = 0
    own: dict[int, list[Tokens]] = defaultdict(list)
    known, row = np.empty(0, np.intp), -1
    for number, tokens in encoder.of_rows(rows, reader):
        if number != row:
            known, row = np.array(rows[number].tokens, np.intp), number
        both = min(len(known), len(tokens))
        frames, as_recorded = frames + both, as_recorded + int((known[:both] == tokens[:both]).sum())
        known = known[both:]
        if rows[number].line in kept:
            own[number].append(tokens)
        if on_item:
            on_item(number + 1, len(rows))
    if not own:
        raise UsageError(tr("no item has features that give a token"), experiment)
    made = tuple(
        TokenRow(rows[number].item, tuple(np.concatenate(parts).tolist()), rows[number].line)
        for number, parts in own.items()
    )
    audit = audit_tokens(
        checkpoint, experiment, recorded=Name2Semantic(recorded.files, made, (), headless=False), copy=copy
    )
    return DeviceTokens(device_name(chosen), frames, as_recorded, audit)
