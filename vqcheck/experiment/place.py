"""What lies in a place that a user names: an experiment, a weights folder, a whole GPT-SoVITS folder, or one file.

Files are sorted by where they lie and what they are called, as GPT-SoVITS lays them out (the integrated package for
Windows, too). Nothing is opened, so a name decides only where to look, never what a file is.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from vqcheck.errors import UsageError
from vqcheck.word_enum import WordEnum

SUFFIXES: Final = (".pth", ".pt", ".ckpt", ".safetensors", ".bin", ".th")
LOCK: Final = "vqcheck.lock"

_LOGS: Final = "logs"
_CODE: Final = "GPT_SoVITS"
_PRETRAINED: Final = os.path.join(_CODE, "pretrained_models")
_S2_WEIGHTS: Final = re.compile(r"SoVITS_weights(?:_(v\w+))?")
_S1_WEIGHTS: Final = re.compile(r"GPT_weights(?:_(v\w+))?")
_S2_RUN: Final = re.compile(r"logs_s2(?:_(v\d\w*?))?(?:_lora_(\d+))?")
_S1_RUN: Final = re.compile(r"logs_s1(?:_(v\w+))?")
_S2_EXPORT: Final = re.compile(r"(.+)_e\d+_s(?P<step>\d+)(?:_l(?P<rank>\d+))?")
_TRAINING: Final = re.compile(r"G_(\d+)\.pth")
_S1_EXPORT: Final = re.compile(r"(.+)-e\d+")
SHARD: Final = re.compile(r"-\d{5}-of-\d{5}\.")
"""In the name of a part of one model, which is not a checkpoint of its own."""
_DISCRIMINATOR: Final = re.compile(r"(?:s2)?D[_\d].*|s2Dv.*")
_EXPERIMENT_PARTS: Final = ("2-name2text.txt", "4-cnhubert", "5-wav32k", "6-name2semantic.tsv")
_LEVELS_UP: Final = 4
_LEVELS_DOWN: Final = 3


class PlaceKind(WordEnum):
    """What a user named."""

    EXPERIMENT = "experiment"
    WEIGHTS = "weights folder"
    TREE = "GPT-SoVITS folder"
    FOLDER = "folder"
    FILE = "file"


class Source(WordEnum):
    """Where a model file lies, which says what it should be."""

    TRAINING = "training file"
    EXPORT = "export"
    LOOSE = "loose file"


@dataclass(frozen=True)
class ModelFile:
    """One file that should hold a model of a voice."""

    path: str
    voice: str
    """Name of the experiment it belongs to; empty where neither the folder nor the name says so."""
    source: Source
    run: str = ""
    """Folder of the training files it lies in; empty for others."""
    version: str = ""
    """As the folder says; empty where it does not. Tensors know better, but for v3 and v4."""
    rank: str = ""
    """Of LoRA training, as the folder or the name says."""


@dataclass(frozen=True)
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


@dataclass(frozen=True)
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
    weights folder brings the experiments of its voices.

    Raises:
        UsageError: there is nothing at the path, or it cannot be listed.

    """
    if not os.path.lexists(path):
        raise UsageError("there is no such file or folder", path)
    if not os.path.isdir(path):
        return _of_file(path)
    here = os.path.abspath(path)
    if _S2_RUN.fullmatch(os.path.basename(here)) or _S1_RUN.fullmatch(os.path.basename(here)):
        here = os.path.dirname(here)
    if _is_experiment(here):
        return _of_experiment(path, here)
    if os.path.basename(here) == _CODE and _is_tree(os.path.dirname(here)):
        here = os.path.dirname(here)
    trees = [here] if _is_tree(here) else [tree for tree in _folders(here) if _is_tree(tree)]
    if trees:
        return Place(path, PlaceKind.TREE, trees[0], _joined(_of_tree(tree) for tree in trees))
    if _S2_WEIGHTS.fullmatch(os.path.basename(here)) or _S1_WEIGHTS.fullmatch(os.path.basename(here)):
        return _of_weights(path, here)
    return _of_folder(path, here)


def tree_around(path: str) -> str | None:
    """Return the GPT-SoVITS folder, code and all, that a file lies in, else that the working directory lies in."""
    for start in (os.path.dirname(os.path.abspath(path)), os.getcwd()):
        here = start
        for _ in range(_LEVELS_UP):
            if os.path.isfile(os.path.join(here, _CODE, "module", "models.py")):
                return here
            here = os.path.dirname(here)
    return None


def root_around(path: str) -> str | None:
    """Return the GPT-SoVITS folder that a file lies in, with or without the code; None where there is none near."""
    return _root_above(os.path.dirname(os.path.abspath(path))) or None


def is_training_file(path: str) -> bool:
    """Say whether a file has the name of a generator's training file, which token extraction cannot read."""
    return _TRAINING.fullmatch(os.path.basename(path)) is not None


def exported_weights(training_file: str) -> str | None:
    """Return the weights that training exported at the step of a `G_*.pth`; None where they are not found by name.

    They are looked for in the GPT-SoVITS folder around it. The file of "save latest only" tells no step.
    """
    here = os.path.abspath(training_file)
    run = os.path.dirname(here)
    step, where = _TRAINING.fullmatch(os.path.basename(here)), _S2_RUN.fullmatch(os.path.basename(run))
    root = _root_above(run)
    if not (step and where and root):
        return None
    voice, versions = os.path.basename(os.path.dirname(run)), (where[1] or "", *([""] if where[1] == "v1" else []))
    found = [
        file.path
        for file in _weights_of(root, voice.__eq__).generators
        if (match := _S2_EXPORT.fullmatch(os.path.splitext(os.path.basename(file.path))[0]))
        and int(match["step"]) == int(step[1])
        and (file.rank, file.version in versions) == (where[2] or "", True)
    ]
    return found[0] if len(found) == 1 else None


def training_runs(experiment: str) -> list[str]:
    """Return the folders of s2 training runs in an experiment that hold a file to look at."""
    runs = [each for each in _folders(experiment) if _S2_RUN.fullmatch(os.path.basename(each))]
    return [run for run in runs if _models(run)]


def holds_models(folder: str) -> bool:
    """Say whether a folder itself holds a file that may be a model."""
    return bool(_models(folder))


def _of_tree(root: str) -> Contents:
    experiments = [each for each in _folders(os.path.join(root, _LOGS)) if _is_experiment(each)]
    return _joined([*map(_within_experiment, experiments), _weights_of(root, lambda _: True), _shared(root)])


def _of_experiment(path: str, experiment: str) -> Place:
    voice, root = os.path.basename(experiment), _root_above(experiment)
    parts = [_within_experiment(experiment)]
    if root:
        parts += [_weights_of(root, voice.__eq__), _shared(root)]
    return Place(path, PlaceKind.EXPERIMENT, root, _joined(parts))


def _of_weights(path: str, folder: str) -> Place:
    root = _root_above(folder)
    own = _weights_in(folder)
    voices = {file.voice for file in (*own.generators, *own.s1) if file.voice}
    parts = [own]
    if root:
        experiments = [os.path.join(root, _LOGS, voice) for voice in sorted(voices)]
        parts += [_within_experiment(each) for each in experiments if _is_experiment(each)]
        parts += [_shared(root)]
        if not own.generators:
            # A folder of s1 weights says nothing without the s2 weights of its voices.
            parts.append(_weights_of(root, voices.__contains__))
    return Place(path, PlaceKind.WEIGHTS, root, _joined(parts))


def _of_folder(path: str, folder: str) -> Place:
    """Return what lies in a folder of another layout: its files, and experiments in it as `logs` has them."""
    files = [_loose(each) for each in _models(folder)]
    experiments = [each for each in _folders(folder) if _is_experiment(each)]
    weights = [each for each in _folders(folder) if _S2_WEIGHTS.fullmatch(os.path.basename(each))]
    root = _root_above(folder)
    parts = [
        Contents(generators=tuple(files), configs=_json(folder), locks=_locks(folder)),
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
    root = _root_above(folder)
    run = _S2_RUN.fullmatch(os.path.basename(folder))
    if run:
        file = _of_run(path, os.path.basename(os.path.dirname(folder)), folder)
    else:
        file = _loose(path)
    parts = [Contents(generators=(file,))]
    experiment = (
        os.path.dirname(folder) if run else os.path.join(root, _LOGS, file.voice) if root and file.voice else ""
    )
    if experiment and _is_experiment(experiment):
        # Only this file is asked about; what the experiment recorded is evidence.
        parts.append(replace(_within_experiment(experiment), generators=()))
    if root:
        parts.append(_shared(root))
        if file.voice:
            parts.append(replace(_weights_of(root, file.voice.__eq__), generators=()))
    return Place(path, PlaceKind.FILE, root, _joined(parts))


def _within_experiment(experiment: str) -> Contents:
    voice = os.path.basename(experiment)
    runs = [each for each in _folders(experiment) if _S2_RUN.fullmatch(os.path.basename(each))]
    s1_runs = [each for each in _folders(experiment) if _S1_RUN.fullmatch(os.path.basename(each))]
    return Contents(
        # Generators alone: a discriminator of each step lies beside them.
        generators=tuple(
            _of_run(file, voice, run)
            for run in runs
            for file in _models(run)
            if os.path.basename(file).startswith("G_")
        ),
        s1=tuple(
            ModelFile(file, voice, Source.TRAINING, run, _suffix(_S1_RUN, run))
            for run in s1_runs
            for file in (*_models(run), *_models(os.path.join(run, "ckpt")))
        ),
        experiments=(experiment,),
        configs=tuple(config for folder in (experiment, *runs) for config in _json(folder)),
        locks=_locks(experiment),
    )


def _weights_of(root: str, wanted: Callable[[str], bool]) -> Contents:
    """Return the exports of a GPT-SoVITS folder: those of the voices that are `wanted`."""
    folders = [
        each
        for each in _folders(root)
        if _S2_WEIGHTS.fullmatch(os.path.basename(each)) or _S1_WEIGHTS.fullmatch(os.path.basename(each))
    ]
    found = _joined(map(_weights_in, folders))
    return replace(
        found,
        generators=tuple(file for file in found.generators if wanted(file.voice)),
        s1=tuple(file for file in found.s1 if wanted(file.voice)),
    )


def _weights_in(folder: str) -> Contents:
    files = _models(folder)
    if _S1_WEIGHTS.fullmatch(os.path.basename(folder)):
        version = _suffix(_S1_WEIGHTS, folder)
        return Contents(s1=tuple(ModelFile(each, _voice(each), Source.EXPORT, "", version) for each in files))
    return Contents(generators=tuple(map(_loose, files)), locks=_locks(folder))


def _shared(root: str) -> Contents:
    """Return what all voices of a GPT-SoVITS folder share: base models, and the configuration of the last run."""
    pretrained = os.path.join(root, _PRETRAINED)
    bases = [file for file in _walk(pretrained, _LEVELS_DOWN) if os.path.basename(file).startswith("s2G")]
    temporary = [each for each in _folders(root) if os.path.basename(each).lower() in ("temp", "tmp")]
    return Contents(
        bases=tuple(bases),
        configs=tuple(config for folder in temporary for config in _json(folder)),
        locks=_locks(root),
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
    match = _S2_RUN.fullmatch(os.path.basename(run))
    version, rank = match.groups() if match else (None, None)
    return ModelFile(path, voice, Source.TRAINING, run, version or "", rank or "")


def _loose(path: str) -> ModelFile:
    folder = os.path.basename(os.path.dirname(os.path.abspath(path)))
    voice, match = _voice(path), _S2_EXPORT.fullmatch(os.path.splitext(os.path.basename(path))[0])
    exported = voice or (_S2_WEIGHTS.fullmatch(folder) and not os.path.basename(path).startswith("s2G"))
    source = Source.EXPORT if exported else Source.LOOSE
    version = _suffix(_S2_WEIGHTS, folder)
    return ModelFile(path, voice, source, version=version, rank=(match["rank"] or "") if match else "")


def _suffix(pattern: re.Pattern[str], folder: str) -> str:
    """Return the version in a folder's name; empty where it says none."""
    match = pattern.fullmatch(os.path.basename(folder))
    return (match[1] or "") if match else ""


def _voice(path: str) -> str:
    """Return whose export a file is by its name; empty where it has none of GPT-SoVITS's names."""
    stem = os.path.splitext(os.path.basename(path))[0]
    match = _S2_EXPORT.fullmatch(stem) or _S1_EXPORT.fullmatch(stem)
    return match[1] if match else ""


def _is_experiment(folder: str) -> bool:
    names = _names(folder)
    return any(part in names for part in _EXPERIMENT_PARTS) or any(
        _S2_RUN.fullmatch(name) or _S1_RUN.fullmatch(name) for name in names
    )


def _is_tree(folder: str) -> bool:
    names = _names(folder)
    if os.path.isdir(os.path.join(folder, _CODE)):
        return True
    return _LOGS in names and any(_S2_WEIGHTS.fullmatch(name) or _S1_WEIGHTS.fullmatch(name) for name in names)


def _root_above(folder: str) -> str:
    """Return the GPT-SoVITS folder around a folder; empty where there is none near."""
    here = folder
    for _ in range(_LEVELS_UP):
        here = os.path.dirname(here)
        if _is_tree(here):
            return here
    return ""


def _models(folder: str) -> list[str]:
    """Return the files of a folder that may hold a model; discriminators and shards do not stand for one."""
    return [
        os.path.join(folder, name)
        for name in sorted(_names(folder), key=by_number)
        if name.lower().endswith(SUFFIXES)
        and not SHARD.search(name)
        and not _DISCRIMINATOR.fullmatch(os.path.splitext(name)[0])
        and not os.path.isdir(os.path.join(folder, name))
    ]


def _walk(folder: str, levels: int) -> Iterator[str]:
    yield from _models(folder)
    if levels:
        for inner in _folders(folder):
            yield from _walk(inner, levels - 1)


def _json(folder: str) -> tuple[str, ...]:
    return tuple(os.path.join(folder, name) for name in sorted(_names(folder)) if name.lower().endswith(".json"))


def _locks(folder: str) -> tuple[str, ...]:
    return tuple(os.path.join(folder, name) for name in sorted(_names(folder)) if name.endswith(".lock"))


def _folders(folder: str) -> list[str]:
    return [whole for name in sorted(_names(folder)) if os.path.isdir(whole := os.path.join(folder, name))]


def _names(folder: str) -> list[str]:
    """Return the names in a folder, hidden ones left out; none where there is no such folder.

    Raises:
        UsageError: it is there and cannot be listed.

    """
    try:
        return [name for name in os.listdir(folder) if not name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UsageError(f"{folder}: cannot be listed: {error.strerror}") from None


def by_number(path: str) -> list[tuple[int, str]]:
    """Sort key that puts G_800 before G_1000, whatever folder they are in."""
    pieces = re.split(r"(\d+)", os.path.basename(path))
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in pieces]
