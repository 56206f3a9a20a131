"""Where GPT-SoVITS keeps what, and what it calls its files: names of folders and files, and looking for them."""

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Final

from vqcheck.errors import UsageError
from vqcheck.language import tr

SUFFIXES: Final = (".pth", ".pt", ".ckpt", ".safetensors", ".bin", ".th")
LOGS: Final = "logs"
CODE: Final = "GPT_SoVITS"
PRETRAINED: Final = os.path.join(CODE, "pretrained_models")
S2_WEIGHTS: Final = re.compile(r"SoVITS_weights(?:_(v\w+))?")
S1_WEIGHTS: Final = re.compile(r"GPT_weights(?:_(v\w+))?")
S2_RUN: Final = re.compile(r"logs_s2(?:_(v\d\w*?))?(?:_lora_(\d+))?")
S1_RUN: Final = re.compile(r"logs_s1(?:_(v\w+))?")
S2_EXPORT: Final = re.compile(r"(.+)_e\d+_s(?P<step>\d+)(?:_l(?P<rank>\d+))?")
S1_EXPORT: Final = re.compile(r"(.+)-e\d+")
SHARD: Final = re.compile(r"-\d{5}-of-\d{5}\.")
"""In the name of a part of one model, which is not a checkpoint of its own."""
TRAINING: Final = re.compile(r"G_(\d+)\.pth")
_DISCRIMINATOR: Final = re.compile(r"(?:s2)?D[_\d].*|s2Dv.*")
_EXPERIMENT_PARTS: Final = ("2-name2text.txt", "4-cnhubert", "5-wav32k", "6-name2semantic.tsv")
_LEVELS_UP: Final = 4
LEVELS_DOWN: Final = 3


def tree_around(path: str) -> str | None:
    """Return the GPT-SoVITS folder, code and all, that a file lies in, else that the working directory lies in."""
    starts = [os.path.dirname(os.path.abspath(path))]
    with contextlib.suppress(OSError):  # it may have been deleted
        starts.append(os.getcwd())
    for start in starts:
        here = start
        for _ in range(_LEVELS_UP):
            if os.path.isfile(os.path.join(here, CODE, "module", "models.py")):
                return here
            here = os.path.dirname(here)
    return None


def root_around(path: str) -> str | None:
    """Return the GPT-SoVITS folder that a file lies in, with or without the code; None where there is none near."""
    return root_above(os.path.dirname(os.path.abspath(path))) or None


def is_training_file(path: str) -> bool:
    """Say whether a file has the name of a generator's training file, which token extraction cannot read."""
    return TRAINING.fullmatch(os.path.basename(path)) is not None


def version_in(pattern: re.Pattern[str], folder: str) -> str:
    """Return the version in a folder's name; empty where it says none."""
    match = pattern.fullmatch(os.path.basename(folder))
    return (match[1] or "") if match else ""


def voice_of_export(path: str) -> str:
    """Return whose export a file is by its name; empty where it has none of GPT-SoVITS's names."""
    stem = os.path.splitext(os.path.basename(path))[0]
    match = S2_EXPORT.fullmatch(stem) or S1_EXPORT.fullmatch(stem)
    return match[1] if match else ""


def is_experiment(folder: str) -> bool:
    names = names_in(folder)
    return any(part in names for part in _EXPERIMENT_PARTS) or any(
        S2_RUN.fullmatch(name) or S1_RUN.fullmatch(name) for name in names
    )


def is_tree(folder: str) -> bool:
    names = names_in(folder)
    if os.path.isdir(os.path.join(folder, CODE)):
        return True
    return LOGS in names and any(S2_WEIGHTS.fullmatch(name) or S1_WEIGHTS.fullmatch(name) for name in names)


def root_above(folder: str) -> str:
    """Return the GPT-SoVITS folder around a folder; empty where there is none near."""
    here = folder
    for _ in range(_LEVELS_UP):
        here = os.path.dirname(here)
        if is_tree(here):
            return here
    return ""


def model_files(folder: str) -> list[str]:
    """Return the files of a folder that may hold a model; discriminators and shards do not stand for one."""
    return [
        os.path.join(folder, name)
        for name in sorted(names_in(folder), key=by_number)
        if name.lower().endswith(SUFFIXES)
        and not SHARD.search(name)
        and not _DISCRIMINATOR.fullmatch(os.path.splitext(name)[0])
        and not os.path.isdir(os.path.join(folder, name))
    ]


def training_runs(experiment: str) -> list[str]:
    """Return the folders of s2 training runs in an experiment that hold a file to look at."""
    runs = [each for each in folders_in(experiment) if S2_RUN.fullmatch(os.path.basename(each))]
    return [run for run in runs if model_files(run)]


def holds_models(folder: str) -> bool:
    """Say whether a folder itself holds a file that may be a model."""
    return bool(model_files(folder))


def walk(folder: str, levels: int) -> Iterator[str]:
    yield from model_files(folder)
    if levels:
        for inner in folders_in(folder):
            yield from walk(inner, levels - 1)


def json_files(folder: str) -> tuple[str, ...]:
    return tuple(os.path.join(folder, name) for name in sorted(names_in(folder)) if name.lower().endswith(".json"))


def lock_files(folder: str) -> tuple[str, ...]:
    return tuple(os.path.join(folder, name) for name in sorted(names_in(folder)) if name.endswith(".lock"))


def folders_in(folder: str) -> list[str]:
    return [whole for name in sorted(names_in(folder)) if os.path.isdir(whole := os.path.join(folder, name))]


def names_in(folder: str) -> list[str]:
    """Return the names in a folder, hidden ones left out; none where there is no such folder.

    Raises:
        UsageError: it is there and cannot be listed.

    """
    try:
        return [name for name in os.listdir(folder) if not name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UsageError(tr("{folder}: cannot be listed: {reason}", folder=folder, reason=error.strerror)) from None


def by_number(path: str) -> list[tuple[int, str]]:
    """Sort key that puts G_800 before G_1000, whatever folder they are in."""
    pieces = re.split(r"(\d+)", os.path.basename(path))
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in pieces]
