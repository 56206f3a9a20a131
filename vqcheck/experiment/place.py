"""What lies in a place that a user names: an experiment, a weights folder, a whole GPT-SoVITS folder, or one file.

Files are sorted by where they lie and what they are called, as GPT-SoVITS lays them out (the integrated package for
Windows, too). Nothing is opened, so a name decides only where to look, never what a file is.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import replace

from vqcheck.checkpoint.remote.address import is_address
from vqcheck.errors import UsageError
from vqcheck.experiment.layout import (
    CODE,
    LEVELS_DOWN,
    LOGS,
    PRETRAINED,
    S1_RUN,
    S1_WEIGHTS,
    S2_EXPORT,
    S2_RUN,
    S2_WEIGHTS,
    TRAINING,
    folders_in,
    is_experiment,
    is_tree,
    json_files,
    lock_files,
    model_files,
    root_above,
    version_in,
    voice_of_export,
    walk,
)
from vqcheck.language import tr
from vqcheck.quick_dataclass import quick_dataclass
from vqcheck.word_enum import WordEnum


class PlaceKind(WordEnum):
    """What a user named."""

    EXPERIMENT = "experiment"
    WEIGHTS = "weights folder"
    TREE = "GPT-SoVITS folder"
    FOLDER = "folder"
    FILE = "file"


class FileOrigin(WordEnum):
    """Where a model file lies, which says what it should be."""

    TRAINING = "training file"
    EXPORT = "export"
    LOOSE = "loose file"


@quick_dataclass(frozen=True)
class ModelFile:
    """One file that should hold a model of a voice."""

    path: str
    voice: str
    """Name of the experiment it belongs to; empty where neither the folder nor the name says so."""
    source: FileOrigin
    run: str = ""
    """Folder of the training files it lies in; empty for others."""
    version: str = ""
    """As the folder says; empty where it does not. Tensors know better, but for v3 and v4."""
    rank: str = ""
    """Of LoRA training, as the folder or the name says."""


@quick_dataclass(frozen=True)
class Contents:
    """Files by what they should be, each once and in a fixed order."""

    bases: tuple[str, ...] = ()
    """Files that s2 training starts from."""
    generators: tuple[ModelFile, ...] = ()
    s1: tuple[ModelFile, ...] = ()
    experiments: tuple[str, ...] = ()
    """Folders, each called like its voice."""
    configs: tuple[str, ...] = ()
    """JSON files that may be s2 configurations."""
    locks: tuple[str, ...] = ()


@quick_dataclass(frozen=True)
class Place:
    """What a user named, and all that lies in it or belongs to it."""

    path: str
    kind: PlaceKind
    root: str
    """The GPT-SoVITS folder around it; empty where there is none."""
    contents: Contents

    def experiment(self, voice: str) -> str | None:
        """Return the folder of an experiment; None where it is not here."""
        return next((each for each in self.contents.experiments if os.path.basename(each) == voice), None)


def find_place(path: str) -> Place:
    """Return what lies in a place.

    An experiment and a file bring along what belongs to their voice elsewhere in the GPT-SoVITS folder around them; a
    weights folder brings the experiments of its voices. A remote file stands alone.

    Raises:
        UsageError: there is nothing at the path, or it cannot be listed.

    """
    if is_address(path):
        return Place(path, PlaceKind.FILE, "", Contents(generators=(_loose(path),)))
    if not os.path.lexists(path):
        raise UsageError(tr("there is no such file or folder"), path)
    if not os.path.isdir(path):
        return _of_file(path)
    here = os.path.abspath(path)
    if S2_RUN.fullmatch(os.path.basename(here)) or S1_RUN.fullmatch(os.path.basename(here)):
        here = os.path.dirname(here)
    if is_experiment(here):
        return _of_experiment(path, here)
    if os.path.basename(here) == CODE and is_tree(os.path.dirname(here)):
        here = os.path.dirname(here)
    trees = [here] if is_tree(here) else [tree for tree in folders_in(here) if is_tree(tree)]
    if trees:
        return Place(path, PlaceKind.TREE, trees[0], _joined(_of_tree(tree) for tree in trees))
    if S2_WEIGHTS.fullmatch(os.path.basename(here)) or S1_WEIGHTS.fullmatch(os.path.basename(here)):
        return _of_weights(path, here)
    return _of_folder(path, here)


def exported_weights(training_file: str) -> str | None:
    """Return the weights that training exported at the step of a `G_*.pth`; None where they are not found by name.

    They are looked for in the GPT-SoVITS folder around it. The file of "save latest only" tells no step.
    """
    here = os.path.abspath(training_file)
    run = os.path.dirname(here)
    step, where = TRAINING.fullmatch(os.path.basename(here)), S2_RUN.fullmatch(os.path.basename(run))
    if not (step and where):
        return None
    root = root_above(run)
    if not root:
        return None
    voice, versions = os.path.basename(os.path.dirname(run)), (where[1] or "", *([""] if where[1] == "v1" else []))
    found = [
        file.path
        for file in _weights_of(root, voice.__eq__).generators
        if (match := S2_EXPORT.fullmatch(os.path.splitext(os.path.basename(file.path))[0]))
        and int(match["step"]) == int(step[1])
        and (file.rank, file.version in versions) == (where[2] or "", True)
    ]
    return found[0] if len(found) == 1 else None


def _of_tree(root: str) -> Contents:
    experiments = [each for each in folders_in(os.path.join(root, LOGS)) if is_experiment(each)]
    return _joined([*map(_within_experiment, experiments), _weights_of(root, lambda _: True), _shared(root)])


def _of_experiment(path: str, experiment: str) -> Place:
    voice, root = os.path.basename(experiment), root_above(experiment)
    parts = [_within_experiment(experiment)]
    if root:
        parts += [_weights_of(root, voice.__eq__), _shared(root)]
    return Place(path, PlaceKind.EXPERIMENT, root, _joined(parts))


def _of_weights(path: str, folder: str) -> Place:
    root = root_above(folder)
    own = _weights_in(folder)
    voices = {file.voice for file in (*own.generators, *own.s1) if file.voice}
    parts = [own]
    if root:
        experiments = [os.path.join(root, LOGS, voice) for voice in sorted(voices)]
        parts += [_within_experiment(each) for each in experiments if is_experiment(each)]
        parts += [_shared(root)]
        if not own.generators:
            # A folder of s1 weights says nothing without the s2 weights of its voices.
            parts.append(_weights_of(root, voices.__contains__))
    return Place(path, PlaceKind.WEIGHTS, root, _joined(parts))


def _of_folder(path: str, folder: str) -> Place:
    """Return what lies in a folder of another layout: its files, and experiments in it as `logs` has them."""
    files = [_loose(each) for each in model_files(folder)]
    experiments = [each for each in folders_in(folder) if is_experiment(each)]
    weights = [each for each in folders_in(folder) if S2_WEIGHTS.fullmatch(os.path.basename(each))]
    root = root_above(folder)
    parts = [
        Contents(generators=tuple(files), configs=json_files(folder), locks=lock_files(folder)),
        *(_within_experiment(each) for each in experiments),
        *(_weights_in(each) for each in weights),
    ]
    if root:
        voices = {file.voice for part in parts for file in part.generators if file.voice}
        voices |= {os.path.basename(each) for each in experiments}
        parts += [_weights_of(root, voices.__contains__), _shared(root)]
    return Place(path, PlaceKind.FOLDER, root, _joined(parts))


def _of_file(path: str) -> Place:
    here = os.path.abspath(path)
    folder = os.path.dirname(here)
    root = root_above(folder)
    run = S2_RUN.fullmatch(os.path.basename(folder))
    if run:
        file = _of_run(path, os.path.basename(os.path.dirname(folder)), folder)
    else:
        file = _loose(path)
    parts = [Contents(generators=(file,))]
    experiment = os.path.dirname(folder) if run else os.path.join(root, LOGS, file.voice) if root and file.voice else ""
    if experiment and is_experiment(experiment):
        # Only this file is asked about; what the experiment recorded is evidence.
        parts.append(replace(_within_experiment(experiment), generators=()))
    if root:
        parts.append(_shared(root))
        if file.voice:
            parts.append(replace(_weights_of(root, file.voice.__eq__), generators=()))
    return Place(path, PlaceKind.FILE, root, _joined(parts))


def _within_experiment(experiment: str) -> Contents:
    voice = os.path.basename(experiment)
    runs = [each for each in folders_in(experiment) if S2_RUN.fullmatch(os.path.basename(each))]
    s1_runs = [each for each in folders_in(experiment) if S1_RUN.fullmatch(os.path.basename(each))]
    return Contents(
        # Generators alone: a discriminator of each step lies beside them.
        generators=tuple(
            _of_run(file, voice, run)
            for run in runs
            for file in model_files(run)
            if os.path.basename(file).startswith("G_")
        ),
        s1=tuple(
            ModelFile(file, voice, FileOrigin.TRAINING, run, version_in(S1_RUN, run))
            for run in s1_runs
            for file in (*model_files(run), *model_files(os.path.join(run, "ckpt")))
        ),
        experiments=(experiment,),
        configs=tuple(config for folder in (experiment, *runs) for config in json_files(folder)),
        locks=lock_files(experiment),
    )


def _weights_of(root: str, wanted: Callable[[str], bool]) -> Contents:
    """Return the exports of a GPT-SoVITS folder: those of the voices that are `wanted`."""
    folders = [
        each
        for each in folders_in(root)
        if S2_WEIGHTS.fullmatch(os.path.basename(each)) or S1_WEIGHTS.fullmatch(os.path.basename(each))
    ]
    found = _joined(map(_weights_in, folders))
    return replace(
        found,
        generators=tuple(file for file in found.generators if wanted(file.voice)),
        s1=tuple(file for file in found.s1 if wanted(file.voice)),
    )


def _weights_in(folder: str) -> Contents:
    files = model_files(folder)
    if S1_WEIGHTS.fullmatch(os.path.basename(folder)):
        version = version_in(S1_WEIGHTS, folder)
        return Contents(
            s1=tuple(ModelFile(each, voice_of_export(each), FileOrigin.EXPORT, "", version) for each in files)
        )
    return Contents(generators=tuple(map(_loose, files)), locks=lock_files(folder))


def _shared(root: str) -> Contents:
    """Return what all voices of a GPT-SoVITS folder share: base models, and the configuration of the last run."""
    pretrained = os.path.join(root, PRETRAINED)
    bases = [file for file in walk(pretrained, LEVELS_DOWN) if os.path.basename(file).startswith("s2G")]
    temporary = [each for each in folders_in(root) if os.path.basename(each).lower() in ("temp", "tmp")]
    return Contents(
        bases=tuple(bases),
        configs=tuple(config for folder in temporary for config in json_files(folder)),
        locks=lock_files(root),
    )


def _joined(parts: Iterable[Contents]) -> Contents:
    """Return several as one; what lies in two of them counts once."""
    parts = list(parts)
    return Contents(
        tuple(dict.fromkeys(base for part in parts for base in part.bases)),
        tuple(dict.fromkeys(file for part in parts for file in part.generators)),
        tuple(dict.fromkeys(file for part in parts for file in part.s1)),
        tuple(dict.fromkeys(folder for part in parts for folder in part.experiments)),
        tuple(dict.fromkeys(config for part in parts for config in part.configs)),
        tuple(dict.fromkeys(lock for part in parts for lock in part.locks)),
    )


def _of_run(path: str, voice: str, run: str) -> ModelFile:
    match = S2_RUN.fullmatch(os.path.basename(run))
    version, rank = match.groups() if match else (None, None)
    return ModelFile(path, voice, FileOrigin.TRAINING, run, version or "", rank or "")


def _loose(path: str) -> ModelFile:
    folder = os.path.basename(os.path.dirname(os.path.abspath(path)))
    voice, match = voice_of_export(path), S2_EXPORT.fullmatch(os.path.splitext(os.path.basename(path))[0])
    exported = voice or (S2_WEIGHTS.fullmatch(folder) and not os.path.basename(path).startswith("s2G"))
    source = FileOrigin.EXPORT if exported else FileOrigin.LOOSE
    version = version_in(S2_WEIGHTS, folder)
    return ModelFile(path, voice, source, version=version, rank=(match["rank"] or "") if match else "")
