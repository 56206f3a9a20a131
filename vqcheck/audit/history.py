"""The checkpoints of a folder in training order: which VQ encoder each holds, and when it started to move."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final

from vqcheck.audit.earlier import Comparer, Earlier, Stored
from vqcheck.audit.history_result import (
    Base,
    BaseSource,
    History,
    HistoryRow,
    SkippedFile,
    TrainingRun,
)
from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.codebook import health
from vqcheck.codebook.comparison import CopyPair, Verdict, titles
from vqcheck.codebook.copies import Copies
from vqcheck.codebook.digest import F32V1, Digest, combine, tensor_digest
from vqcheck.codebook.family import Family
from vqcheck.codebook.file_record import FileKind, record
from vqcheck.codebook.find import find_copies
from vqcheck.codebook.float_bytes import not_finite
from vqcheck.codebook.tensor_pair import in_common
from vqcheck.codebook.vq_encoder import RoleTensor
from vqcheck.errors import CheckpointError, NoCodebookError, UsageError, VqcheckError
from vqcheck.experiment.run_base import BaseProblem, UnusedBase, named_base

_SUFFIXES: Final = (".pth", ".pt", ".ckpt", ".safetensors", ".bin", ".th")
_SHARD: Final = re.compile(r"-\d{5}-of-\d{5}\.")
"""A part of one model, which is no checkpoint of its own."""
_EXPORT: Final = re.compile(r"(.+)_e\d+_s\d+(?:_l(\d+))?", flags=re.ASCII)
_WITHOUT_STEP: Final = (FileKind.BASE, FileKind.UNKNOWN)

OnFile = Callable[[int, int], None]
"""Called as (files done, files in all)."""


@dataclass(frozen=True)
class _Found:
    """One checkpoint with a codebook."""

    stored: Stored
    digest_of: str
    trained: bool
    ailments: tuple[str, ...]
    config: Any
    """The configuration that the file itself holds, as exports do."""

    @property
    def voice(self) -> str:
        """Whose export it is, by its name or else by its configuration; empty for other files."""
        named = _voice(self.stored.name)
        own = self.config.get("name") if isinstance(self.config, dict) else None
        return named or (own if isinstance(own, str) and self.stored.record.kind is FileKind.EXPORT else "")

    @property
    def has_step(self) -> bool:
        return self.stored.record.kind not in _WITHOUT_STEP


@dataclass
class _Group:
    """The files of one run before they are compared, in training order."""

    found: list[_Found] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)


def read_history(
    folder: str,
    scope: str,
    on_file: OnFile | None = None,
    own: tuple[Family, ...] = (),
    base: str | None = None,
    copy: str = "",
) -> History:
    """Return the history of the checkpoints in a folder; its sub-folders are not searched.

    Every checkpoint is judged against the base and against those before it. The base is the one given, else the file
    that the run's configuration names as `pretrained_s2G`, else a file of the folder that says nothing of training.
    Exports of several voices are several runs. `copy` names the copy to judge in files that hold several.

    Raises:
        UsageError: the folder cannot be listed, or holds no checkpoint.
        CheckpointError: the base cannot be read.
        NoCodebookError: it has no codebook, or none in common with a checkpoint.

    """
    paths = _checkpoints(folder)
    tell = on_file or _tell_nobody
    found: list[_Found] = []
    skipped: list[SkippedFile] = []
    unreadable: list[tuple[str, str]] = []
    for done, path in enumerate(paths, start=1):
        name = os.path.basename(path)
        try:
            found.append(_read(path, own, copy))
        except NoCodebookError as error:
            skipped.append(SkippedFile(name, error.what))
        except VqcheckError as error:
            unreadable.append((name, error.what))
        tell(done, 2 * len(paths))
    groups = _groups(found, unreadable)
    for group in groups.values():
        for other in [each for each in group.found if each.stored.family != group.found[0].stored.family]:
            group.found.remove(other)
            skipped.append(SkippedFile(other.stored.name, "", other.stored.family))
    given = _read(base, own, copy) if base is not None else None
    if given and (more := _holds_more(given, found)):
        raise UsageError(
            f"holds the {given.digest_of} alone, and {more} what stands in front of it, too; name its base model",
            base or "",
        )
    comparer = Comparer(scope, own)
    runs: list[TrainingRun] = []
    bases: list[_Found] = []
    done, total = len(paths), len(paths) + len(found)
    for voice, group in groups.items():
        start, told_by, unused = given, BaseSource.OPTION, None
        if start is None:
            named = named_base(folder, voice, [each.config for each in group.found])
            start = _read(named.path, own, copy) if named.path else None
            told_by, unused = BaseSource.CONFIGURATION, named.unused
            if start and (more := _holds_more(start, group.found)):
                unused = UnusedBase(BaseProblem.HOLDS_LESS, (start.stored.name,), more)
                start = None
        if start is None:
            start, told_by = _in_folder(group, groups), BaseSource.FOLDER
            if start and _holds_more(start, group.found):
                start = None
        rows = []
        for row in _rows(group, start, comparer):
            rows.append(row)
            done += 1
            tell(done, total)
        bases += [start] if start else []
        runs.append(
            TrainingRun(
                name=voice if len(groups) > 1 else "",
                base=Base(start.stored.path, told_by) if start else None,
                unused_base=None if start else unused,
                rows=tuple(rows),
                unreadable=tuple(group.unreadable),
                family=group.found[0].stored.family if group.found else "",
            )
        )
    untrained = dict.fromkeys(each.stored.name for each in (*bases, *found) if not each.trained)
    ailing = dict.fromkeys((each.stored.name, ailment) for each in (*bases, *found) for ailment in each.ailments)
    return History(folder, scope, tuple(runs), tuple(skipped), tuple(sorted(untrained)), tuple(sorted(ailing)))


def _holds_more(base: _Found, found: list[_Found]) -> str:
    """Return a file that holds what stands in front of the codebook, where the base does not: nothing to judge that by.

    So it is with a LoRA export. Empty where there is none.
    """
    if base.digest_of == "vq_encoder":
        return ""
    return next((each.stored.name for each in found if each.digest_of == "vq_encoder"), "")


def _tell_nobody(_done: int, _total: int) -> None:
    return


def _read(path: str, own: tuple[Family, ...], copy: str) -> _Found:
    with open_checkpoint(path) as checkpoint:
        held = find_copies(checkpoint, own)
        chosen = _chosen(held, copy)
        copies = held.choose(chosen[0]) if chosen else held
        for each in copies.unreadable:
            raise CheckpointError(
                f"its copy '{each.name}' cannot be read: {each.why}; --copy NAME chooses another", path
            )
        encoders = tuple(each.encoder for each in copies.sound)
        if not any(in_common(encoder, encoder) for encoder in encoders):
            raise NoCodebookError("holds no codebook", path)
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
        stored = Stored(
            path,
            os.path.basename(path),
            encoders[0].family.name,
            record(checkpoint),
            digest,
            {
                f"{title} {encoder.label(tensor)}".strip(): (tensor.tensor.dtype, digests[tensor])
                for title, encoder in zip(_titles(copies), encoders, strict=True)
                for tensor in encoder.tensors
            },
            chosen,
        )
        trained = health.NEVER_TRAINED not in ailments
        others = tuple(ailment for ailment in ailments if ailment != health.NEVER_TRAINED)
        return _Found(stored, what, trained, others, checkpoint.information.get("config"))


def _titles(copies: Copies) -> list[str]:
    """Return what stands in front of the labels of each copy, as where two files are compared."""
    names = ((each.encoder.family.name, each.name) for each in copies.sound)
    return titles([CopyPair(family, name, name, Verdict.IDENTICAL, guessed=False) for family, name in names])


def _chosen(held: Copies, copy: str) -> tuple[str, ...]:
    """Return the name of the copy to judge, if one was chosen: a file of one copy is judged by that."""
    if not copy:
        return ()
    return (held.names[0] if len(held.names) == 1 and not held.holds(copy) else copy,)


def _groups(found: list[_Found], unreadable: list[tuple[str, str]]) -> dict[str, _Group]:
    """Return the files of each run in training order, by voice; all of them as one where there are not several voices.

    Where there are, what is no export of a voice is a run of its own, called by an empty name.
    """
    voices = [each.voice for each in found], [_voice(name) for name, _ in unreadable]
    several = len({voice for part in voices for voice in part if voice}) > 1
    groups: dict[str, _Group] = {}
    for voice, each in zip(voices[0], found, strict=True):
        groups.setdefault(voice if several else "", _Group()).found.append(each)
    for voice, file in zip(voices[1], unreadable, strict=True):
        groups.setdefault(voice if several else "", _Group()).unreadable.append(file)
    for group in groups.values():
        group.found = sorted(group.found, key=lambda each: _training_order(each, group.found))
    # Other files come last.
    return {voice: groups[voice] for voice in sorted(groups, key=lambda voice: (not voice, voice))} or {"": _Group()}


def _voice(name: str) -> str:
    """Return whose export a file is by its name; runs of different ranks are different ones of the same voice."""
    match = _EXPORT.fullmatch(os.path.splitext(name)[0])
    if match is None:
        return ""
    return f"{match[1]} (LoRA rank {match[2]})" if match[2] else match[1]


def _in_folder(group: _Group, groups: dict[str, _Group]) -> _Found | None:
    """Return the file that a run started from, where one in its folder says nothing of training and others do."""
    own = next((each for each in group.found if not each.has_step), None)
    if own is not None:
        return own if any(each.has_step for each in group.found) else None
    # Exports of several voices may have one base in common.
    rest = groups[""].found if "" in groups else []
    return rest[0] if len(rest) == 1 and not rest[0].has_step else None


def _rows(group: _Group, base: _Found | None, comparer: Comparer) -> Iterator[HistoryRow]:
    earlier, first = Earlier(), Earlier()
    for number, each in enumerate(group.found):
        stored = each.stored
        is_base = base is not None and os.path.realpath(base.stored.path) == os.path.realpath(stored.path)
        yield HistoryRow(
            name=stored.name,
            record=stored.record,
            digest=stored.digest,
            digest_of=each.digest_of,
            from_base=comparer.with_base(base.stored, stored) if base and not is_base else None,
            from_first=None if base else comparer.with_earlier(first, stored),
            from_previous=comparer.with_earlier(earlier, stored),
        )
        earlier.add(stored)
        if not number:
            first.add(stored)


def _checkpoints(folder: str) -> list[str]:
    try:
        # A link that leads nowhere, or a pipe, stands for a checkpoint that cannot be read.
        names = [name for name in os.listdir(folder) if not os.path.isdir(os.path.join(folder, name))]
    except OSError as error:
        if os.path.isfile(folder):
            raise UsageError("is a file; name the folder of the run's checkpoints", folder) from None
        raise UsageError(f"cannot be listed: {error.strerror}", folder) from None
    paths = [
        os.path.join(folder, name) for name in names if name.lower().endswith(_SUFFIXES) and not _SHARD.search(name)
    ]
    if not paths:
        runs = sorted(name for name in os.listdir(folder) if name.startswith("logs_s2"))
        if runs:
            raise UsageError(f"holds no checkpoint; name the folder of a run in it ({', '.join(runs)})", folder)
        raise UsageError(f"holds no checkpoint (no file named {', '.join('*' + s for s in _SUFFIXES)})", folder)
    return sorted(paths, key=_by_number)


def _by_number(path: str) -> list[tuple[int, str]]:
    """Sort key that puts G_800 before G_1000."""
    pieces = re.split(r"(\d+)", os.path.basename(path))
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in pieces]


def _training_order(each: _Found, found: list[_Found]) -> tuple[float, float, int, list[tuple[int, str]]]:
    """Sort key: a file that says nothing of training is the base and comes first; then steps, where all tell them."""
    kind, epoch, steps = each.stored.record.kind, each.stored.record.epoch, each.stored.record.steps
    name = _by_number(each.stored.path)
    if not each.has_step:
        return -1, -1, 0, name
    # Of one step the training file is there before its export.
    exported = int(kind is not FileKind.TRAINING)
    if all(other.stored.record.steps is not None for other in found if other.has_step):
        return 0, steps or 0, exported, name
    # The step number of a file that keeps only the latest is not known, but it is the epoch's last.
    return (inf if epoch is None else epoch), (inf if steps is None else steps), exported, name
