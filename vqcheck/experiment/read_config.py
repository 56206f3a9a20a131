"""Reads the whole configuration of a replay, of either kind, and says in one line what is wrong with it."""

import difflib
import os
from typing import Any

from pydantic import BaseModel, ValidationError

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.codebook.model import identify
from vqcheck.errors import UsageError
from vqcheck.experiment.config import FLOW_VERSIONS, Config
from vqcheck.experiment.config_file import VERSIONS, ConfigFile, absent, lora_rank, read_config_file, resolved
from vqcheck.sanitize import without_credentials

_PATHS = (
    ("subject", "checkout"),
    ("subject", "pretrained_s2G"),
    ("subject", "pretrained_s2D"),
    ("data", "exp_dir"),
    ("data", "symbols"),
)
_SPELLINGS = {
    "subject.factory": "package.module:function (a module's name, not a file)",
    "subject.generator": "the name of a class",
}
"""What a text with a pattern looks like, for people."""


def read_config(path: str, root: str | None = None) -> Config:
    """Return the configuration in a vqcheck TOML or a GPT-SoVITS s2 JSON, every path in it resolved and present.

    Relative paths count from `root`, or from where `ConfigFile.base` says.

    Raises:
        UsageError: the file is missing or malformed, a key is unknown or its value wrong, a path leads nowhere.
        CheckpointError: the pretrained generator, which an s2 JSON without a version goes by, cannot be read.

    """
    file = read_config_file(path)
    values = _known(file) if file.is_json else file.sections()
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        raise UsageError(_first_problem(error, file), path) from None
    base = file.base(root)
    for section, key in _PATHS:
        config = _resolve(config, section, key, base, file)
    if file.is_json and "version" not in values["subject"]:
        config = config.changed("subject", version=_version_of_base(config, path))
    python = config.subject.python
    if python and os.path.dirname(python):  # a name alone is looked for as a shell would
        config = config.changed("subject", python=os.path.join(base, os.path.expanduser(python)))
    return config


def with_subject(config: Config, **given: Any) -> Config:
    """Return a copy with keys of `subject` replaced by what the command line gives; None leaves a key as it is.

    Raises:
        UsageError: a value is wrong.

    """
    values = {key: value for key, value in given.items() if value is not None}
    try:
        Config.model_validate({"subject": values})
    except ValidationError as error:
        raise UsageError(_first_problem(error)) from None
    return config.changed("subject", **values)


def _known(file: ConfigFile) -> dict[str, dict[str, Any]]:
    """Return of an s2 JSON what a `Config` has a key for. Upstream ignores other keys, and so does a replay.

    Raises:
        UsageError: a field that upstream's training script needs is missing, or the version is none of upstream's.

    """
    sections = file.sections()
    for section, inner, key in (("train", "training", "batch_size"), ("data", "data", "exp_dir")):
        if not sections[inner].get(key):
            raise UsageError(f"{section}.{key} is missing; the training script needs it", file.path)
    if "pretrained_s2G" not in sections["training"]:
        raise UsageError(
            "train.pretrained_s2G is missing; it may be empty, but then the weights start fresh", file.path
        )
    version = sections["subject"]["version"]
    if version is not None and version not in VERSIONS:
        raise UsageError(f"model.version: expected one of {', '.join(VERSIONS)}, given {version!r}", file.path)
    known = {
        name: {key: value for key in _keys_at((name,)) if (value := section.get(key)) is not None}
        for name, section in sections.items()
    }
    # The web page writes a text whatever the version, and for v3 and v4 a discriminator that does not exist.
    rank = lora_rank(file.path, known["training"].pop("lora_rank", None))
    if version in FLOW_VERSIONS:
        known["subject"].pop("pretrained_s2D", None)
        known["training"] |= {"lora_rank": int(rank)} if rank else {}
    # Upstream's class does not freeze where nothing is said.
    known["subject"].setdefault("freeze_quantizer", False)
    return known


def _resolve(config: Config, section: str, key: str, base: str, file: ConfigFile) -> Config:
    given: str | None = getattr(getattr(config, section), key)
    if not given:
        return config.model_copy(update={section: getattr(config, section).model_copy(update={key: None})})
    path = resolved(given, base)
    if not os.path.exists(path):
        raise UsageError(f"{file.key(section, key)} = {without_credentials(repr(given))}: {absent(path)}", file.path)
    return config.changed(section, **{key: path})


def _version_of_base(config: Config, path: str) -> str:
    """Return the version of an s2 JSON that names none, as those of trees before v2: its pretrained generator's."""
    base = config.subject.pretrained_s2G
    if base is None:
        raise UsageError("model.version is missing, and there is no pretrained_s2G to go by", path)
    with open_checkpoint(base) as checkpoint:
        version = identify(checkpoint).version
    if version not in VERSIONS:
        raise UsageError(f"model.version is missing, and the tensors of {base} do not show their version", path)
    return version


def _first_problem(error: ValidationError, file: ConfigFile | None = None) -> str:
    """Return the first problem in words, with the nearest key where one is unknown."""
    problem = error.errors()[0]
    section, *rest = (str(part) for part in problem["loc"])
    where = file.key(section, ".".join(rest)) if file and rest else ".".join((section, *rest))
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(problem["loc"][-1]), _keys_at(problem["loc"][:-1]), 1, 0.5)
        hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(_keys_at(problem['loc'][:-1]))}"
        return f"unknown key {where}{hint}"
    given = problem["input"]
    if problem["type"] == "string_pattern_mismatch":
        return f"{where}: expected {_SPELLINGS['.'.join((section, *rest))]}, given {given!r}"
    shown = "" if isinstance(given, dict) else f", given {given!r}"
    return f"{where}: {problem['msg'][:1].lower()}{problem['msg'][1:]}{shown}"


def _keys_at(location: tuple[int | str, ...]) -> list[str]:
    section: type[BaseModel] = Config
    for part in location:
        kind = section.model_fields[str(part)].annotation
        assert isinstance(kind, type)
        assert issubclass(kind, BaseModel)
        section = kind
    return list(section.model_fields)
