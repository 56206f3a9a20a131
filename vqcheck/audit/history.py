"""The checkpoints of a folder in training order: which VQ encoder each holds, and when it started to move."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from math import inf

from vqcheck.audit.history_result import (
    Base,
    BaseSource,
    History,
    HistoryRow,
    SkippedFile,
    TrainingRun,
)
from vqcheck.audit.run_checkpoints import Comparer, Earlier, RunCheckpoint, read_checkpoint, voice_of
from vqcheck.checkpoint.checkpoint_names import CHECKPOINTS, DISTRIBUTED, is_beside
from vqcheck.checkpoint.model_folder import may_be_checkpoint
from vqcheck.codebook.family import Family
from vqcheck.codebook.file_record import FileKind, is_hub_name, names_a_step
from vqcheck.codebook.vq_encoder import InFront
from vqcheck.errors import NoCodebookError, UsageError, VqcheckError
from vqcheck.experiment.layout import SHARD, SUFFIXES, by_number, folders_in
from vqcheck.experiment.rank_files import ranks_of_one_step
from vqcheck.experiment.run_base import BaseProblem, UnusedBase, named_base
from vqcheck.language import listed, tr, word

OnFile = Callable[[int, int], None]
"""Called as (files done, files in all)."""


@dataclass
class _RunFiles:
    """The files of one run before they are compared, in training order."""

    found: list[RunCheckpoint] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)


def read_history(
    folder: str,
    scope: str,
    on_file: OnFile | None = None,
    own: tuple[Family, ...] = (),
    base: str | None = None,
    copy: str = "",
) -> History:
    """Return the history of the checkpoints in a folder, and of its sub-folders that are one checkpoint each.

    Such are distributed checkpoints, and folders that are called like a step (checkpoint-500).
    Every checkpoint is judged against the base and against those before it. The base is the one given, else the file
    that the run's configuration names as `pretrained_s2G`, else a file of the folder that says nothing of training.
    Exports of several voices are several runs. `copy` names the copy to judge in files that hold several.

    Raises:
        UsageError: the folder cannot be listed, or holds no checkpoint.
        CheckpointError: the base cannot be read.
        NoCodebookError: it has no codebook, or none in common with a checkpoint.

    """
    paths = _checkpoints(folder)
    found: list[RunCheckpoint] = []
    skipped: list[SkippedFile] = []
    unreadable: list[tuple[str, str]] = []
    for done, path in enumerate(paths, start=1):
        name = os.path.basename(path)
        try:
            found.append(_of_last_step(read_checkpoint(path, own, copy), folder))
        except NoCodebookError as error:
            skipped.append(SkippedFile(name, error.what))
        except VqcheckError as error:
            unreadable.append((name, error.what))
        if on_file:
            on_file(done, 2 * len(paths))
    groups = _groups(found, unreadable)
    for group in groups.values():
        for other in [each for each in group.found if each.family != group.found[0].family]:
            group.found.remove(other)
            skipped.append(SkippedFile(other.name, "", other.family))
    given = read_checkpoint(base, own, copy) if base is not None else None
    if given and (more := _holds_more(given, found)):
        raise UsageError(
            tr(
                "holds the {part} alone, and {file} what stands in front of it, too; name its base model",
                part=word(given.digest_of),
                file=more,
            ),
            base or "",
        )
    comparer = Comparer(scope, own)
    runs: list[TrainingRun] = []
    bases: list[RunCheckpoint] = []
    done, total = len(paths), len(paths) + len(found)
    for voice, group in groups.items():
        start, told_by, unused = given, BaseSource.OPTION, None
        if start is None:
            named = named_base(folder, voice, [each.config for each in group.found])
            start = read_checkpoint(named.path, own, copy) if named.path else None
            told_by, unused = BaseSource.CONFIGURATION, named.unused
            if start and (more := _holds_more(start, group.found)):
                unused = UnusedBase(BaseProblem.HOLDS_LESS, (start.name,), more)
                start = None
        if start is None:
            start, told_by = _in_folder(group, groups), BaseSource.FOLDER
            if start and _holds_more(start, group.found):
                start = None
        rows = []
        for row in rows_of(group.found, start, comparer):
            rows.append(row)
            done += 1
            if on_file:
                on_file(done, total)
        bases += [start] if start else []
        runs.append(
            TrainingRun(
                name=voice if len(groups) > 1 else "",
                base=Base(start.path, told_by) if start else None,
                unused_base=None if start else unused,
                rows=tuple(rows),
                unreadable=tuple(group.unreadable),
                family=group.found[0].family if group.found else "",
            )
        )
    untrained = dict.fromkeys(each.name for each in (*bases, *found) if not each.trained)
    ailing = dict.fromkeys((each.name, ailment) for each in (*bases, *found) for ailment in each.ailments)
    return History(folder, scope, tuple(runs), tuple(skipped), tuple(sorted(untrained)), tuple(sorted(ailing)))


def _holds_more(base: RunCheckpoint, found: list[RunCheckpoint]) -> str:
    """Return a file that holds what stands in front of the codebook, where the base does not: nothing to judge that by.

    So it is with a LoRA export. Empty where there is none.
    """
    if base.digest_of == "vq_encoder" or base.in_front is InFront.UNKNOWN:
        return ""
    return next((each.name for each in found if each.digest_of == "vq_encoder"), "")


def _groups(found: list[RunCheckpoint], unreadable: list[tuple[str, str]]) -> dict[str, _RunFiles]:
    """Return the files of each run in training order, by voice; all of them as one where there are not several voices.

    Where there are, what is not an export of a voice is a run of its own, called by an empty name.
    """
    voices = [each.voice for each in found], [voice_of(name) for name, _ in unreadable]
    several = len({voice for part in voices for voice in part if voice}) > 1
    groups: dict[str, _RunFiles] = {}
    for voice, each in zip(voices[0], found, strict=True):
        groups.setdefault(voice if several else "", _RunFiles()).found.append(each)
    for voice, file in zip(voices[1], unreadable, strict=True):
        groups.setdefault(voice if several else "", _RunFiles()).unreadable.append(file)
    for group in groups.values():
        group.found = in_training_order(group.found)
    # Other files come last.
    return {voice: groups[voice] for voice in sorted(groups, key=lambda voice: (not voice, voice))} or {"": _RunFiles()}


def _in_folder(group: _RunFiles, groups: dict[str, _RunFiles]) -> RunCheckpoint | None:
    """Return the file that a run started from, where one in its folder says nothing of training and others do."""
    own = next((each for each in group.found if not each.has_step), None)
    if own is not None:
        return own if any(each.has_step for each in group.found) else None
    # Exports of several voices may have one base in common.
    rest = groups[""].found if "" in groups else []
    return rest[0] if len(rest) == 1 and not rest[0].has_step else None


def in_training_order(found: Iterable[RunCheckpoint]) -> list[RunCheckpoint]:
    """Return the files of one run, the one that it started from first."""
    found = list(found)
    return sorted(found, key=lambda each: _training_order(each, found))


def rows_of(found: Iterable[RunCheckpoint], base: RunCheckpoint | None, comparer: Comparer) -> Iterator[HistoryRow]:
    """Yield what each file of a run, in its order, is beside the base and beside those before it."""
    earlier, first = Earlier(), Earlier()
    for number, stored in enumerate(found):
        is_base = base is not None and os.path.realpath(base.path) == os.path.realpath(stored.path)
        yield HistoryRow(
            name=stored.name,
            record=stored.record,
            digest=stored.digest,
            digest_of=stored.digest_of,
            in_front=stored.in_front,
            from_base=comparer.with_base(base, stored) if base and not is_base else None,
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
            raise UsageError(tr("is a file; name the folder of the run's checkpoints"), folder) from None
        raise UsageError(tr("cannot be listed: {strerror}", strerror=error.strerror), folder) from None
    paths = [
        os.path.join(folder, name)
        for name in names
        if name.lower().endswith(SUFFIXES) and not SHARD.search(name) and not is_beside(name)
    ]
    paths += _folders_of_steps(folder)
    if not paths and os.path.isdir(inner := os.path.join(folder, CHECKPOINTS)):
        return _checkpoints(inner)
    if not paths:
        runs = sorted(name for name in os.listdir(folder) if name.startswith("logs_s2"))
        if runs:
            raise UsageError(
                tr("holds no checkpoint; name the folder of a run in it ({runs})", runs=listed(runs, last="")), folder
            )
        endings = listed([f"*{suffix}" for suffix in SUFFIXES], last="")
        raise UsageError(
            tr("holds no checkpoint (no file named {endings}); 'vqcheck check' looks in sub-folders", endings=endings),
            folder,
        )
    _refuse_ranks(paths, folder)
    return sorted(paths, key=by_number)


def _refuse_ranks(paths: list[str], folder: str) -> None:
    """Raise UsageError where all files are of one step: none of them moved after another."""
    for group in ranks_of_one_step(map(os.path.basename, paths)):
        # Other names may number rounds, one after the other (a_r1.pth).
        if len(group) == len(paths) and all("rank" in name.lower() for name in group.values()):
            raise UsageError(tr("holds what the ranks of one step wrote; name its files: vqcheck diff FILE..."), folder)


def _folders_of_steps(folder: str) -> list[str]:
    """Return the sub-folders that are a checkpoint each, as trainers write them."""
    return [
        inner
        for inner in folders_in(folder)
        if (os.path.exists(os.path.join(inner, DISTRIBUTED)) and not is_beside(os.path.basename(inner)))
        or (names_a_step(os.path.basename(inner)) and may_be_checkpoint(inner))
    ]


def _of_last_step(each: RunCheckpoint, folder: str) -> RunCheckpoint:
    """Return a checkpoint with its kind; trainers put the model of the last step beside the folders of the others."""
    inside = os.path.dirname(os.path.abspath(each.path)) == os.path.abspath(folder)
    if each.has_step or not (inside and is_hub_name(each.name) and _folders_of_steps(folder)):
        return each
    return replace(each, record=replace(each.record, kind=FileKind.STEP))


def _training_order(each: RunCheckpoint, found: list[RunCheckpoint]) -> tuple[float, float, int, list[tuple[int, str]]]:
    """Sort key: a file that says nothing of training is the base and comes first; then steps, where all name them."""
    kind, epoch, steps = each.record.kind, each.record.epoch, each.record.steps
    name = by_number(each.path)
    if not each.has_step:
        return -1, -1, 0, name
    # Of one step the training file is there before its export.
    exported = int(kind is not FileKind.TRAINING)
    if all(other.record.steps is not None for other in found if other.has_step):
        return 0, steps or 0, exported, name
    # The step number of a file that keeps only the latest is not known, but it is the epoch's last.
    return (inf if epoch is None else epoch), (inf if steps is None else steps), exported, name
