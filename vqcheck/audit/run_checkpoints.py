"""What each checkpoint of a run stores, and how far it is from those before it.

Some leave tensors out, or store them rounded.

Each tensor is compared with the last earlier file that stores it in at least the same precision. One that stores it in
less may hold it rounded, and that alone is checked: what moved by less than its step moved before or after it.
"""

import os
import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

from vqcheck.audit.history_result import Drift
from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.codebook import health
from vqcheck.codebook.compare import compare
from vqcheck.codebook.comparison import FAULTS, Comparison, CopyPair, Verdict, titles
from vqcheck.codebook.copies import Copies
from vqcheck.codebook.diagnosis.evidence import EmaUpdates, UpdateOrder
from vqcheck.codebook.digest import F32V1, Digest, combine, tensor_digest
from vqcheck.codebook.family import Family
from vqcheck.codebook.file_record import FileKind, FileRecord, Order, record
from vqcheck.codebook.find import find_copies
from vqcheck.codebook.float_bytes import not_finite
from vqcheck.codebook.tensor_pair import in_common
from vqcheck.codebook.vq_encoder import InFront, RoleTensor
from vqcheck.errors import CheckpointError, NoCodebookError
from vqcheck.language import tr

_PRECISION: Final = {"float64": 3, "float32": 2, "float16": 1, "bfloat16": 1}
"""Types with a greater number hold every value of those with a smaller one; float8 has none, and so the smallest."""

_EXPORT: Final = re.compile(r"(.+)_e\d+_s\d+(?:_l(\d+))?", flags=re.ASCII)

_AS_STORED: Final = ("codes", "ema_sum", "ema_count")
"""Labels of what is compared as it is stored, in a codec of one book."""

_STILL: Final = Drift((), Verdict.IDENTICAL, 0, 0, None, None, "")


@dataclass(frozen=True)
class RunCheckpoint:
    """What one checkpoint stores of its VQ encoder, without its values, and what it says of itself."""

    path: str
    name: str
    family: str
    record: FileRecord
    digest: Digest
    digest_of: str
    """What the digest covers: `vq_encoder`, or `codebook` or `projection` where the file stores that alone."""
    in_front: InFront
    """What is known of the layers in front of the codebook."""
    tensors: dict[str, tuple[str, Digest]]
    """Label -> (dtype, digest)."""
    copies: tuple[str, ...]
    """The name of the copy that is judged alone; empty where all are."""
    trained: bool
    ailments: tuple[str, ...]
    """What else makes it unfit for use."""
    config: Any
    """The configuration that the file itself holds, as exports do."""

    @cached_property
    def digests(self) -> dict[str, Digest]:
        return {label: digest for label, (_, digest) in self.tensors.items()}

    @cached_property
    def signature(self) -> object:
        """What the outcome of a comparison depends on."""
        kind = self.record.kind, self.record.leaves_out
        return self.family, kind, self.copies, tuple(self.tensors.items())

    @property
    def voice(self) -> str:
        """Whose export it is, by its name or else by its configuration; empty for other files."""
        named = voice_of(self.name)
        own = self.config.get("name") if isinstance(self.config, dict) else None
        return named or (own if isinstance(own, str) and self.record.kind is FileKind.EXPORT else "")

    @property
    def has_step(self) -> bool:
        return self.record.kind not in (FileKind.BASE, FileKind.UNKNOWN)


def read_checkpoint(path: str, own: tuple[Family, ...] = (), copy: str = "") -> RunCheckpoint:
    """Return what a file stores; `own` are rows of the user's, `copy` names the copy to judge where it holds several.

    Raises:
        NoCodebookError: it has no codebook.
        CheckpointError: it cannot be read.
        UsageError: there is no copy of that name.

    """
    with open_checkpoint(path) as checkpoint:
        held = find_copies(checkpoint, own)
        chosen = _chosen(held, copy)
        copies = held.choose(chosen[0]) if chosen else held
        for each in copies.unreadable:
            raise CheckpointError(
                tr(
                    "its copy '{name}' cannot be read: {why}; --copy NAME chooses another", name=each.name, why=each.why
                ),
                path,
            )
        encoders = tuple(each.encoder for each in copies.sound)
        if not any(in_common(encoder, encoder) for encoder in encoders):
            raise NoCodebookError(tr("holds no codebook"), path)
        digests: dict[RoleTensor, Digest] = {}
        broken = 0
        for tensor in dict.fromkeys(tensor for encoder in encoders for tensor in encoder.tensors):
            data = checkpoint.read(tensor.tensor)
            digests[tensor] = tensor_digest(tensor, data, F32V1)
            broken += not_finite(data, tensor.tensor.dtype) if health.is_examined(tensor) else 0
        ailments = health.ailments_of(checkpoint, encoders, broken)
        checkpoint.check_unchanged()
        whole = combine(encoders[0], digests, F32V1)
        what, digest = next(
            (part, digest) for part in ("vq_encoder", "codebook", "projection") if (digest := getattr(whole, part))
        )
        return RunCheckpoint(
            path=path,
            name=os.path.basename(path),
            family=encoders[0].family.name,
            record=record(checkpoint),
            digest=digest,
            digest_of=what,
            in_front=encoders[0].in_front,
            tensors={
                f"{title} {encoder.label(tensor)}".strip(): (tensor.tensor.dtype, digests[tensor])
                for title, encoder in zip(_titles(copies), encoders, strict=True)
                for tensor in encoder.tensors
            },
            copies=chosen,
            trained=health.Condition.NEVER_TRAINED not in ailments,
            ailments=tuple(ailment for ailment in ailments if ailment != health.Condition.NEVER_TRAINED),
            config=checkpoint.information.get("config"),
        )


def _titles(copies: Copies) -> list[str]:
    """Return what stands in front of the labels of each copy, as where two files are compared."""
    names = ((each.encoder.family.name, each.name) for each in copies.sound)
    return titles([CopyPair(family, name, name, Verdict.IDENTICAL, guessed=False) for family, name in names])


def _chosen(held: Copies, copy: str) -> tuple[str, ...]:
    """Return the name of the copy to judge, if one was chosen: a file of one copy is judged by that."""
    if not copy:
        return ()
    return (held.names[0] if len(held.names) == 1 and not held.holds(copy) else copy,)


def voice_of(name: str) -> str:
    """Return whose export a file is by its name; runs of different ranks are different ones of the same voice."""
    match = _EXPORT.fullmatch(os.path.splitext(name)[0])
    if match is None:
        return ""
    return tr("{voice} (LoRA rank {rank})", voice=match[1], rank=match[2]) if match[2] else match[1]


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two files compared."""

    drift: Drift
    verdicts: dict[str, str]
    """Label -> verdict, of the tensors that are judged."""
    is_undecided: bool = False
    """Whether a copy in one of them contradicts what was compared, and nothing in the other answers to it."""


class Comparer:
    """Compares two files, once for each pair of contents."""

    def __init__(self, scope: str, own: tuple[Family, ...]) -> None:
        self._scope = scope
        self._own = own
        self._known: dict[object, _Pair] = {}

    def with_base(self, base: RunCheckpoint, each: RunCheckpoint) -> Drift:
        """Return how far a checkpoint is from the file that its run started from.

        Raises:
            NoCodebookError: the two have no codebook in common.
            CheckpointError: a file cannot be read any more.

        """
        return replace(self._pair(base, each, Order.A_FIRST).drift, against=(base.name,))

    def surely_changed(self, base: RunCheckpoint, each: RunCheckpoint) -> Drift | None:
        """Return that a checkpoint is not the base's, where the digests alone say so; None where a look is needed.

        So it is where both store a tensor of the codebook itself as one type with other values: nothing is rounded
        there, nor calculated. How far it moved is not measured.
        """
        for label, (dtype, digest) in each.tensors.items():
            stored_as, stored = base.tensors.get(label, ("", digest))
            if label in _AS_STORED and base.family == each.family and stored_as == dtype and stored != digest:
                return replace(_STILL, against=(base.name,), verdict=Verdict.CHANGED)
        return None

    def with_earlier(self, earlier: "Earlier", each: RunCheckpoint) -> Drift | None:
        """Return how far a checkpoint is from those before it; None where there is none."""
        parts = [(self._pair(file, each, order), file, labels) for file, order, labels in earlier.references(each)]
        if not parts:
            return None
        judged = [
            {verdict for label, verdict in pair.verdicts.items() if label in labels or not earlier.stores(label, each)}
            for pair, _, labels in parts
        ]
        verdict = _worst(set().union(*judged))
        if verdict != Verdict.CHANGED and any(pair.is_undecided for pair, *_ in parts):
            verdict = Verdict.UNDECIDED
        # The move that is shown is that since the nearest file from which there is one.
        shown = next((pair.drift for (pair, *_), found in zip(parts, judged, strict=True) if found & FAULTS), _STILL)
        return replace(shown, against=tuple(dict.fromkeys(file.name for _, file, _ in parts)), verdict=verdict)

    def _pair(self, a: RunCheckpoint, b: RunCheckpoint, order: Order) -> _Pair:
        if a.digests == b.digests:
            return _Pair(_STILL, dict.fromkeys(a.digests, Verdict.IDENTICAL))
        key = a.signature, b.signature, order
        if key not in self._known:
            with open_checkpoint(a.path) as first, open_checkpoint(b.path) as second:
                copies = a.copies + b.copies
                comparison = compare(first, second, self._scope, own=self._own, copies=copies, order=order)
            self._known[key] = _outcome(comparison)
        return self._known[key]


class Earlier:
    """The checkpoints before the one that is looked at, by what was stored last."""

    def __init__(self) -> None:
        self._files: list[RunCheckpoint] = []
        self._last: dict[str, dict[str, int]] = {}
        """Label -> dtype -> number of the last file that stores it so."""

    def add(self, each: RunCheckpoint) -> None:
        """Let a checkpoint be an earlier one from now on."""
        for label, (dtype, _) in each.tensors.items():
            self._last.setdefault(label, {})[dtype] = len(self._files)
        self._files.append(each)

    def stores(self, label: str, each: RunCheckpoint) -> bool:
        """Say whether a tensor is stored here or by `each`, and not calculated from others."""
        return label in self._last or label in each.tensors

    def references(self, each: RunCheckpoint) -> list[tuple[RunCheckpoint, Order, set[str]]]:
        """Return which files to compare with, the nearest first: each with its order and the labels it stands for."""
        if not self._files:
            return []
        labels: dict[tuple[int, Order], set[str]] = {}
        for label, last in self._last.items():
            dtype = each.tensors[label][0] if label in each.tensors else None
            nearest = max(last.values())
            whole = max((number for stored, number in last.items() if dtype and _holds(stored, dtype)), default=None)
            if whole is not None:
                labels.setdefault((whole, Order.A_FIRST), set()).add(label)
            if whole != nearest:
                stored = next(stored for stored, number in last.items() if number == nearest)
                narrower = dtype is not None and _holds(dtype, stored)
                order = Order.B_FIRST if narrower else Order.UNKNOWN if dtype else Order.A_FIRST
                labels.setdefault((nearest, order), set()).add(label)
        # What no earlier file stores is missing there, or a file of that kind leaves it out.
        latest = len(self._files) - 1
        known = next((key for key in labels if key[0] == latest), (latest, Order.UNKNOWN))
        labels.setdefault(known, set()).update(label for label in each.tensors if label not in self._last)
        return [(self._files[number], order, labels[number, order]) for number, order in sorted(labels, key=_nearest)]


def _nearest(key: tuple[int, Order]) -> tuple[int, str]:
    return -key[0], key[1].value


def _holds(wide: str, narrow: str) -> bool:
    """Say whether a type holds every value of another."""
    return wide == narrow or _PRECISION.get(wide, 0) > _PRECISION.get(narrow, 0)


def _worst(verdicts: set[str]) -> str:
    if verdicts & FAULTS:
        return Verdict.CHANGED
    return next(
        (verdict for verdict in (Verdict.ROUNDED, Verdict.WITHIN_ULPS) if verdict in verdicts), Verdict.IDENTICAL
    )


def _outcome(comparison: Comparison) -> _Pair:
    changes = [diff.change for diff in comparison.tensors if diff.role == "codes" and diff.change]
    diagnosis = comparison.diagnosis
    moved = diagnosis.displacement if diagnosis else ()
    cause = diagnosis.of("ema-updates") if diagnosis else None
    updates = cause.evidence if cause and isinstance(cause.evidence, EmaUpdates) else None
    if updates and updates.order != UpdateOrder.A_TO_B:
        # The later file is the less trained one: it went back, or belongs to another run.
        updates = None
    drift = Drift(
        against=(),
        verdict=comparison.verdict,
        rows_changed=sum(change.rows_changed for change in changes),
        rows=sum(change.rows for change in changes),
        displacement=max((each.median for each in moved), default=None),
        ema_steps=updates.steps if updates else None,
        precision=updates.precision if updates else "",
    )
    verdicts: dict[str, str] = {diff.label: diff.verdict for diff in comparison.tensors if diff.judged}
    return _Pair(drift, verdicts, comparison.verdict == Verdict.UNDECIDED)
