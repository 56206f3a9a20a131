"""Which checkpoint of an earlier run s2 training would silently resume from, in which folder of the experiment.

Trees of each age look in a folder of their own, and take the latest file there whatever `pretrained_s2G` says.
"""

import fnmatch
import os
import re
from dataclasses import dataclass
from typing import Final

from vqcheck.errors import UsageError
from vqcheck.experiment.config_file import S2Run
from vqcheck.experiment.resume_code import LORA_RANK, PLAIN, VERSION, folder_patterns
from vqcheck.language import listed, tr

_BY_VERSION: Final = f"{PLAIN}_{VERSION}"
_LORA: Final = f"{_BY_VERSION}_lora_{LORA_RANK}"
_WITH_LORA: Final = ("v3", "v4")
_ADVERSARIAL: Final = frozenset(("v1", "v2", "v2Pro", "v2ProPlus"))
"""Versions that train with a discriminator, and read its file first."""
_KNOWN: Final = _ADVERSARIAL | set(_WITH_LORA)
_READERS: Final = {PLAIN: tr("older trees"), _BY_VERSION: tr("newer trees"), _LORA: tr("LoRA training")}
_ADVERSARIAL_SCRIPTS: Final = ("s2_train.py",)
_FLOW_SCRIPTS: Final = ("s2_train_v3.py", "s2_train_v3_lora.py")


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of an experiment that some tree would resume from."""

    name: str
    reader: str
    """Who would, where it is not this run: `older trees`."""
    needs_discriminator: bool
    """Whether nothing is resumed from without a `D_*.pth`."""


@dataclass(frozen=True, slots=True)
class ResumeFolders:
    """Where to look for checkpoints of an earlier run."""

    read: tuple[Folder, ...]
    """Those that this run reads; all there are where that is not known."""
    others: tuple[Folder, ...]
    """Those that trees of another age would read."""
    doubt: str = ""
    """Why it is not known which this run reads; empty where it is."""


@dataclass(frozen=True, slots=True)
class Latest:
    """What stands in one folder to resume from."""

    generators: tuple[str, ...]
    """Paths of the latest `G_*.pth`; several where their numbers are equal, none where there is no such file."""
    resumed: bool
    """Whether it is resumed from: a file is there and, where one is needed, a discriminator's beside it."""


def resume_folders(run: S2Run, experiment: str, base_version: str) -> ResumeFolders:
    """Return the folders that s2 training would resume from, and those that trees of another age would.

    `base_version` is what the pretrained generator's tensors show; a config without a version is of that.

    Raises:
        UsageError: the experiment cannot be listed, or the rank in the config cannot stand in a folder's name.

    """
    version = run.version or (base_version if base_version in _KNOWN else "")
    if run.checkout is not None:
        patterns, doubt = _read_by_checkout(run.checkout, version)
    elif run.version:
        patterns, doubt = {_LORA if version in _WITH_LORA and run.lora_rank else _BY_VERSION}, ""
    elif run.is_json:
        patterns, doubt = {PLAIN}, ""
    else:
        patterns, doubt = set(), tr("the config names neither a version nor a checkout")
    there = _listed(experiment)
    if doubt:
        return ResumeFolders(_every(there, version, base_version), (), doubt)
    read = _named(patterns, version, run.lora_rank, there)
    known = (_BY_VERSION, PLAIN) if version not in _WITH_LORA else (_BY_VERSION, _LORA, PLAIN)
    others: dict[str, str] = {}
    for pattern in known:
        for name in _named({pattern}, version, run.lora_rank, there):
            reader = tr("full training") if version in _WITH_LORA and pattern == _BY_VERSION else _READERS[pattern]
            others.setdefault(name, reader)
    return ResumeFolders(
        tuple(_folder(name, "", version, base_version) for name in read),
        tuple(_folder(name, reader, version, base_version) for name, reader in others.items() if name not in read),
    )


def latest(experiment: str, folder: Folder) -> Latest:
    """Return what would be resumed from in a folder.

    Upstream takes the file whose path has the greatest number when all its digits are strung together, so that of
    "save latest only" (233333333333) comes after all others. The discriminator's is read before the generator's; where
    it cannot be, training starts from the pretrained files.

    Raises:
        UsageError: the folder cannot be listed.

    """
    path = os.path.join(experiment, folder.name)
    names = _listed(path)
    numbers: dict[int, list[str]] = {}
    for name in sorted(fnmatch.filter(names, "G_*.pth")):
        whole = os.path.join(path, name)
        numbers.setdefault(int("0" + "".join(filter(str.isdecimal, whole))), []).append(whole)
    generators = tuple(numbers[max(numbers)]) if numbers else ()
    beside = not folder.needs_discriminator or bool(fnmatch.filter(names, "D_*.pth"))
    return Latest(generators, bool(generators) and beside)


def _read_by_checkout(checkout: str, version: str) -> tuple[set[str], str]:
    """Return the patterns of folders that a tree's scripts for this version name, or why that is not known."""
    scripts = _ADVERSARIAL_SCRIPTS if version in _ADVERSARIAL else _FLOW_SCRIPTS if version in _WITH_LORA else None
    if scripts is None:
        return set(), tr("an unknown version is named") if version else tr("no version is named")
    found: set[str] = set()
    there = [path for name in scripts if os.path.lexists(path := os.path.join(checkout, "GPT_SoVITS", name))]
    if not there:
        return set(), tr(
            "{checkout} has no {scripts} in GPT_SoVITS", checkout=checkout, scripts=listed(scripts, last="or")
        )
    for path in there:
        patterns = folder_patterns(path)
        if not patterns:
            return set(), tr("{path} does not say", path=path)
        found |= patterns
    return found, ""


def _named(patterns: set[str], version: str, rank: str | None, there: list[str]) -> list[str]:
    """Return the folders that patterns stand for; where a part is not known, those of them that are there."""
    names = []
    for pattern in sorted(patterns):
        name = pattern.replace(VERSION, version) if version else pattern
        name = name.replace(LORA_RANK, rank) if rank else name
        if VERSION in name or LORA_RANK in name:
            shape = re.escape(name).replace(re.escape(VERSION), r"\w+").replace(re.escape(LORA_RANK), r"\d+")
            names += [each for each in there if re.fullmatch(shape, each, flags=re.ASCII)]
        else:
            names.append(name)
    return names


def _every(there: list[str], version: str, base_version: str) -> tuple[Folder, ...]:
    """Return every folder that any tree would resume from but those of another version."""
    names = [PLAIN, *([f"{PLAIN}_{version}"] if version else [])]
    for name in there:
        other = re.match(rf"{PLAIN}_(v\d\w*?)(?=_|$)", name)
        of_another = other is not None and other[1] in _KNOWN and bool(version) and other[1] != version
        if name.startswith(PLAIN) and not of_another and name not in names:
            names.append(name)
    return tuple(_folder(name, "", version, base_version) for name in names)


def _folder(name: str, reader: str, version: str, base_version: str) -> Folder:
    # Where a version may be one of several, all of them must read the discriminator's file.
    versions = {version} if version else set(base_version.split(" or "))
    return Folder(name, reader, versions <= _ADVERSARIAL and "_lora_" not in name)


def _listed(folder: str) -> list[str]:
    """Return the names in a folder in order; none where there is no such folder."""
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UsageError(tr("cannot be listed: {reason}", reason=error.strerror), folder) from None
