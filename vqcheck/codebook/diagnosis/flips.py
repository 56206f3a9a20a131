"""Counts the frames of real recordings that get another token from B than from A."""

from collections.abc import Callable, Iterable

import numpy as np

from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook.compare import first_pair
from vqcheck.codebook.copies import Copy
from vqcheck.codebook.diagnosis.result import CodeFlips, ItemFlips, TokenFlips
from vqcheck.codebook.family import Family
from vqcheck.codebook.tokenizer import Features, InputProjection, Lookup, Tokens, lookup, nearest_codes
from vqcheck.codebook.values import Array
from vqcheck.errors import UsageError
from vqcheck.language import tr

_SHOWN = 10
_BATCH = 2048
"""Frames that are looked up together: a matrix product of a few rows takes nearly as long as one of many."""


def measure(
    a: Checkpoint,
    b: Checkpoint,
    folder: str,
    features: Iterable[Features],
    on_item: Callable[[int], None] | None = None,
    own: tuple[Family, ...] = (),
    copies: tuple[str, ...] = (),
) -> TokenFlips:
    """Return how many frames flip their token between the VQ encoders of two open checkpoints.

    `own` are rows of the user's that are tried before the family table; `copies` chooses as in `compare`.

    Raises:
        UsageError: these VQ encoders have no tokens to derive from features, or no features are usable.

    """
    lookup_a, lookup_b = (_lookup(copy) for copy in first_pair(a, b, own, copies))
    own_a, own_b = lookup_a.projection, lookup_b.projection
    projection_a, projection_b = own_a or own_b, own_b or own_a
    if projection_a is None or projection_b is None:
        raise UsageError(
            tr(
                "--features: neither {file} nor {other} stores the projection (ssl_proj) that comes "
                "before the lookup; compare the base models instead",
                file=str(a.path),
                other=str(b.path),
            )
        )
    same = own_a is None or own_b is None or _equal(own_a, own_b)
    count = _Count(max(len(lookup_a.codes), len(lookup_b.codes)))

    def look_up(batch: list[tuple[str, Array]]) -> None:
        patches = np.concatenate([values for _, values in batch])
        frames_a = projection_a.frames(patches)
        frames_b = frames_a if same else projection_b.frames(patches)
        count.add(batch, nearest_codes(frames_a, lookup_a.codes), nearest_codes(frames_b, lookup_b.codes))

    batch: list[tuple[str, Array]] = []
    for done, recording in enumerate(features, start=1):
        values = recording.values
        why = recording.problem if values is None else _unusable(values, projection_a, projection_b)
        if values is None or why:
            count.skipped.append((recording.item, why))
        else:
            batch.append((recording.item, projection_a.patches(values)))
        if sum(len(patches) for _, patches in batch) >= _BATCH:
            look_up(batch)
            batch = []
        if on_item:
            on_item(done)
    if batch:
        look_up(batch)
    if not count.items:
        if not count.skipped:
            raise UsageError(tr("--features: {folder}: holds no usable features", folder=folder))
        item, why = count.skipped[0]
        raise UsageError(
            tr("--features: {folder}: holds no usable features: {item}: {why}", folder=folder, item=item, why=why)
        )
    return count.result(folder, "A" if own_a is None else "B" if own_b is None else "")


class _Count:
    """Tokens of all items so far."""

    def __init__(self, codes: int) -> None:
        self.items: list[ItemFlips] = []
        self.skipped: list[tuple[str, str]] = []
        self._pairs = np.zeros((codes, codes), np.int64)

    def add(self, batch: list[tuple[str, Array]], a: Tokens, b: Tokens) -> None:
        """Count the tokens of several recordings, which lie one behind the other."""
        np.add.at(self._pairs, (a, b), 1)
        start = 0
        for item, patches in batch:
            end = start + len(patches)
            self.items.append(ItemFlips(item, end - start, int(np.count_nonzero(a[start:end] != b[start:end]))))
            start = end

    def result(self, folder: str, borrowed: str) -> TokenFlips:
        frames = self._pairs.sum(axis=1)
        moved = self._pairs.copy()
        np.fill_diagonal(moved, 0)
        flipped = moved.sum(axis=1)
        order = sorted(np.flatnonzero(flipped), key=lambda code: (-flipped[code], code))[:_SHOWN]
        worst = sorted(
            (item for item in self.items if item.flipped), key=lambda item: (-item.flipped / item.frames, item.item)
        )
        return TokenFlips(
            folder=folder,
            items=len(self.items),
            frames=int(frames.sum()),
            flipped=int(flipped.sum()),
            codes=tuple(
                CodeFlips(int(code), int(frames[code]), int(flipped[code]), int(np.argmax(moved[code])))
                for code in order
            ),
            worst=tuple(worst[:_SHOWN]),
            skipped=tuple(self.skipped),
            borrowed=borrowed,
        )


def _lookup(copy: Copy) -> Lookup:
    file, encoder = copy.file, copy.encoder
    try:
        return lookup(file, encoder, {tensor: file.read(tensor.tensor) for tensor in encoder.tensors})
    except UsageError as error:
        raise UsageError(tr("--features: {error}", error=str(error))) from None


def _equal(a: InputProjection, b: InputProjection) -> bool:
    biases = [None if p.bias is None else p.bias.tobytes() for p in (a, b)]
    return np.array_equal(a.weight, b.weight) and biases[0] == biases[1]


def _unusable(values: Array, *projections: InputProjection) -> str:
    """Return why features cannot be turned into tokens; empty when they can."""
    if len({projection.weight.shape[1:] for projection in projections}) > 1:
        return tr("cannot go through projections of different shapes")
    for projection in projections:
        _, channels, kernel = projection.weight.shape
        if values.shape[0] != channels:
            return tr(
                "has {channels} channels where the VQ encoder takes {wanted}",
                channels=values.shape[0],
                wanted=channels,
            )
        if values.shape[1] < kernel:
            return tr("is shorter than one token")
    return "" if np.isfinite(values).all() else tr("holds NaN or infinity")
