"""The checkpoints of one run in training order: which VQ encoder each holds, and when it started to move."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Final

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.codebook import model
from vqcheck.codebook.compare import compare
from vqcheck.codebook.comparison import CHANGED, IDENTICAL, UNDECIDED, Comparison
from vqcheck.codebook.diagnosis.evidence import A_TO_B, EmaUpdates
from vqcheck.codebook.digest import Digest
from vqcheck.codebook.family import Family
from vqcheck.codebook.model import Training
from vqcheck.errors import NoCodebookError, UsageError, VqcheckError

_SUFFIXES: Final = (".pth", ".pt", ".ckpt", ".safetensors", ".bin", ".th")


_SHARD: Final = re.compile(r"-\d{5}-of-\d{5}\.")
"""A part of one model, which is no checkpoint of its own."""


@dataclass(frozen=True, slots=True)
class Drift:
    """How far one checkpoint's VQ encoder is from another's."""

    verdict: str
    rows_changed: int
    rows: int
    displacement: float | None
    """Median over the codes of distance moved, in half the distance to the nearest neighbour; None if not measured."""
    ema_steps: int | None
    """EMA updates that ran in between; None where they left no trace to count by."""
    precision: str
    """How `ema_steps` is to be read: `exact`, `about`, `at least`, or empty."""


@dataclass(frozen=True, slots=True)
class Row:
    """One checkpoint of the run."""

    name: str
    training: Training
    digest: Digest
    from_first: Drift | None
    """None for the first checkpoint."""
    from_previous: Drift | None

    @property
    def is_undecided(self) -> bool:
        """Whether a copy in it contradicts the one that was judged."""
        return self.from_first is not None and self.from_first.verdict == UNDECIDED


@dataclass(frozen=True, slots=True)
class History:
    """A folder of checkpoints in training order."""

    folder: str
    scope: str
    rows: tuple[Row, ...]
    skipped: tuple[tuple[str, str], ...]
    """(file, what it is): files without a codebook, such as discriminators."""
    unreadable: tuple[tuple[str, str], ...]
    """(file, why it could not be read)."""
    never_trained: tuple[str, ...]
    """Files whose codebook still waits for its first batch."""
    family: str = ""
    """What the rows' VQ encoders are read as; empty where there is no row."""

    @property
    def first_moved(self) -> Row | None:
        """The first checkpoint whose VQ encoder is not that of the first one."""
        return next((row for row in self.rows if row.from_first and row.from_first.verdict == CHANGED), None)

    @property
    def undecided(self) -> tuple[Row, ...]:
        """Checkpoints with a copy that contradicts the one that was judged; `copy` chooses."""
        return tuple(row for row in self.rows if row.is_undecided)

    @property
    def verdict(self) -> str:
        if self.unreadable or self.undecided or len(self.rows) < 2:
            return "could not check"
        return CHANGED if self.first_moved else IDENTICAL

    @property
    def exit_code(self) -> int:
        return {IDENTICAL: 0, CHANGED: 1}.get(self.verdict, 2)


@dataclass(frozen=True, slots=True)
class _Found:
    path: str
    family: str
    training: Training
    digest: Digest
    several: bool
    """Whether it holds more copies than the one that the digest is of."""


OnFile = Callable[[int, int], None]
"""Called as (files done, files in all)."""


def read_history(
    folder: str, scope: str, on_file: OnFile | None = None, own: tuple[Family, ...] = (), copy: str = ""
) -> History:
    """Return the history of the checkpoints in a folder; its sub-folders are not searched.

    `copy` names the copy to judge in files that hold several.

    Raises:
        UsageError: the folder cannot be listed, or holds no checkpoint.

    """
    paths = _checkpoints(folder)
    copies = (copy,) if copy else ()
    found: list[_Found] = []
    skipped, unreadable, untrained = [], [], []
    for done, path in enumerate(paths, start=1):
        try:
            with open_checkpoint(path) as checkpoint:
                # Against itself: the digest and the never-trained check, in one pass.
                comparison = compare(checkpoint, checkpoint, scope, own=own, copies=copies)
                side = comparison.a
                digest = side.digests.widest
                if side.never_trained:
                    untrained.append(os.path.basename(path))
                several = len(comparison.pairs) > 1 or bool(comparison.lone)
                found.append(_Found(path, side.family, model.training(checkpoint), digest, several))
        except NoCodebookError as error:
            skipped.append((os.path.basename(path), str(error).removeprefix(f"{path}: ")))
        except VqcheckError as error:
            unreadable.append((os.path.basename(path), str(error).removeprefix(f"{path}: ")))
        if on_file:
            on_file(done, 2 * len(paths))
    found = sorted(found, key=lambda each: _training_order(each, found))
    for other in [each for each in found if each.family != found[0].family]:
        found.remove(other)
        skipped.append((os.path.basename(other.path), f"is another codec's ({other.family})"))
    comparer = _Comparer(scope, own, copies)
    rows = []
    for number, each in enumerate(found):
        rows.append(
            Row(
                name=os.path.basename(each.path),
                training=each.training,
                digest=each.digest,
                from_first=comparer.drift(found[0], each) if number else None,
                from_previous=comparer.drift(found[number - 1], each) if number else None,
            )
        )
        if on_file:
            on_file(len(paths) + number + 1, len(paths) + len(found))
    family = found[0].family if found else ""
    return History(folder, scope, tuple(rows), tuple(skipped), tuple(unreadable), tuple(untrained), family)


def _checkpoints(folder: str) -> list[str]:
    try:
        # A link that leads nowhere, or a pipe, stands for a checkpoint that cannot be read.
        names = [name for name in os.listdir(folder) if not os.path.isdir(os.path.join(folder, name))]
    except OSError as error:
        raise UsageError(f"{folder}: cannot be listed: {error.strerror}") from None
    paths = [
        os.path.join(folder, name) for name in names if name.lower().endswith(_SUFFIXES) and not _SHARD.search(name)
    ]
    if not paths:
        raise UsageError(f"{folder}: holds no checkpoint (no file named {', '.join('*' + s for s in _SUFFIXES)})")
    return sorted(paths, key=_by_number)


def _by_number(path: str) -> list[tuple[int, str]]:
    """Sort key that puts G_800 before G_1000."""
    pieces = re.split(r"(\d+)", os.path.basename(path))
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in pieces]


def _training_order(each: _Found, found: list[_Found]) -> tuple[float, float, list[tuple[int, str]]]:
    """Sort key: a file that says nothing of training is the base and comes first; then steps, where all tell them."""
    epoch, steps = each.training.epoch, each.training.steps
    name = _by_number(each.path)
    if epoch is None and steps is None:
        return -1, -1, name
    all_steps = all(other.training.steps is not None for other in found if other.training.epoch is not None)
    if all_steps and steps is not None:
        return 0, steps, name
    # The step number of a file that keeps only the latest is not known, but it is the epoch's last.
    return (inf if epoch is None else epoch), (inf if steps is None else steps), name


class _Comparer:
    """Compares two files, once for each pair of digests."""

    def __init__(self, scope: str, own: tuple[Family, ...], copies: tuple[str, ...]) -> None:
        self._scope = scope
        self._own = own
        self._copies = copies
        self._known: dict[tuple[Digest, Digest], Drift] = {}

    def drift(self, a: _Found, b: _Found) -> Drift:
        key = a.digest, b.digest
        if key not in self._known or a.several or b.several:
            with open_checkpoint(a.path) as first, open_checkpoint(b.path) as second:
                comparison = compare(first, second, self._scope, own=self._own, copies=self._copies)
            self._known[key] = _drift(comparison)
        return self._known[key]


def _drift(comparison: Comparison) -> Drift:
    changes = [diff.change for diff in comparison.tensors if diff.role == "codes" and diff.change]
    diagnosis = comparison.diagnosis
    moved = diagnosis.displacement if diagnosis else ()
    cause = diagnosis.of("ema-updates") if diagnosis else None
    updates = cause.evidence if cause and isinstance(cause.evidence, EmaUpdates) else None
    if updates and updates.order != A_TO_B:
        # The later file is the less trained one: it went back, or belongs to another run.
        updates = None
    return Drift(
        verdict=comparison.verdict,
        rows_changed=sum(change.rows_changed for change in changes),
        rows=sum(change.rows for change in changes),
        displacement=max((each.median for each in moved), default=None),
        ema_steps=updates.steps if updates else None,
        precision=updates.precision if updates else "",
    )
