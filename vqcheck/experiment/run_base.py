"""Which file a training run started from, as its configuration says: beside its checkpoints, or inside its exports."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from vqcheck.errors import UsageError
from vqcheck.experiment.config_file import experiment_name, read_config_file, resolved
from vqcheck.sanitize import without_credentials
from vqcheck.word_enum import WordEnum

_CHECKPOINT_FOLDER: Final = re.compile(r"logs_s2(?:_(v\d\w*?))?(?:_lora_\d+)?")


class BaseProblem(WordEnum):
    """Why a run is compared with no base though its configuration names one."""

    SEVERAL = "several files are named"
    ABSENT = "the named file is not there"
    HOLDS_LESS = "the named file stores less than a checkpoint"


@dataclass(frozen=True, slots=True)
class UnusedBase:
    """The base that a configuration names, and that could not be used."""

    problem: BaseProblem
    files: tuple[str, ...]
    """The files that are named."""
    checkpoint: str = ""
    """The checkpoint that stores more than the file."""


@dataclass(frozen=True, slots=True)
class NamedBase:
    """What a run's configurations say of the file that it started from."""

    path: str | None
    """None where none names a file that is there, or several name different ones."""
    unused: UnusedBase | None = None
    """What is named, where there is no path for all that."""


def named_base(folder: str, voice: str, configs: Iterable[Any]) -> NamedBase:
    """Return the `pretrained_s2G` of a run.

    `configs` are the configurations that the checkpoints themselves hold, as exports do; an s2 JSON in the folder or
    the one above it counts, too, where it is of this experiment or of this voice. Relative paths count, as upstream's
    do, from the working directory, else from the folders above.
    """
    named = dict.fromkeys(path for path in map(_pretrained, [*configs, *_beside(folder, voice)]) if path)
    there: dict[str, str] = {}
    for path in named:
        found = _find(path, folder)
        if found is not None:
            there.setdefault(os.path.realpath(found), found)
    if len(there) == 1:
        return NamedBase(next(iter(there.values())))
    if there:
        return NamedBase(None, UnusedBase(BaseProblem.SEVERAL, tuple(sorted(there.values()))))
    if named:
        return NamedBase(None, UnusedBase(BaseProblem.ABSENT, tuple(named)))
    return NamedBase(None)


def _pretrained(config: Any) -> str | None:
    train = config.get("train") if isinstance(config, Mapping) else None
    path = train.get("pretrained_s2G") if isinstance(train, Mapping) else None
    return without_credentials(path) if isinstance(path, str) and path else None


def _beside(folder: str, voice: str) -> Iterator[dict[str, Any]]:
    """Return the s2 configurations of this run that lie in its folder or in the experiment above it."""
    here = os.path.abspath(folder)
    experiment = os.path.dirname(here)
    names = {os.path.basename(here), os.path.basename(experiment)}
    for place in (here, experiment):
        for name in _json_files(place):
            try:
                file = read_config_file(os.path.join(place, name))
                version = file.named_version() if isinstance(file.values, dict) else None
            except UsageError:
                continue
            if _pretrained(file.values) is None:
                continue
            data = file.values.get("data")
            exp_dir = data.get("exp_dir") if isinstance(data, dict) else None
            own = isinstance(exp_dir, str) and experiment_name(exp_dir) in names
            match = _CHECKPOINT_FOLDER.fullmatch(os.path.basename(here))
            other_version = match is not None and match[1] is not None and version not in (None, match[1])
            if (file.values.get("name") == voice if voice else own) and not other_version:
                yield file.values


def _json_files(folder: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name.lower().endswith(".json"))
    except OSError:
        return []


def _find(path: str, folder: str) -> str | None:
    """Return where a path leads from the working directory or a folder above the checkpoints; None if nowhere."""
    above = os.path.abspath(folder)
    roots = [""]
    while above not in roots:
        roots.append(above)
        above = os.path.dirname(above)
    return next((whole for root in roots if os.path.isfile(whole := resolved(path, root))), None)
