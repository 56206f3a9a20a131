"""The facts of an s2 training run that the gate asks about, from GPT-SoVITS's s2 JSON or a vqcheck TOML.

Only what is needed is looked at; a replay's numbers are validated where they are used.
"""

import os
import re
from dataclasses import dataclass, replace
from typing import Any

from vqcheck.errors import UsageError
from vqcheck.experiment.config_text import named_version, read_config_text


@dataclass(frozen=True, slots=True)
class S2Run:
    """One s2 training run as it is configured; paths are resolved, None where the config names none."""

    config: str
    pretrained_s2G: str | None  # noqa: N815 - upstream's spelling
    exp_dir: str | None
    version: str | None
    """None where the config names none, as those of GPT-SoVITS before v2."""
    freeze_quantizer: bool | None
    """None where the config does not say."""
    trains_code: bool
    """Whether the config names the training code itself, so that it can be replayed."""
    root: str | None = None
    """Where relative paths in the config begin, if that was said."""
    lora_rank: str | None = None
    """As the web page writes it, whatever the version; LoRA training alone goes by it."""
    checkout: str | None = None
    """The GPT-SoVITS tree that will train, where the config names it."""
    is_json: bool = True
    """Whether it is GPT-SoVITS's own configuration, and so tells by its fields how old the tree is."""


def read_s2_run(path: str, root: str | None) -> S2Run:
    """Return the run that a config describes.

    Relative paths count from `root`, or from where `ConfigText.base` says.

    Raises:
        UsageError: the file cannot be read, or is no such config.

    """
    text = read_config_text(path)
    values, base = text.values, text.base(root)
    if text.is_json:
        return _from_json(path, values, base)
    return replace(_from_toml(path, values, base), root=root)


def _from_json(path: str, values: dict[str, Any], base: str) -> S2Run:
    train, data, model = (_section(path, values, name) for name in ("train", "data", "model"))
    return S2Run(
        config=path,
        pretrained_s2G=_path(path, "train.pretrained_s2G", train.get("pretrained_s2G"), base),
        exp_dir=_path(path, "data.exp_dir", data.get("exp_dir"), base),
        version=named_version(values, path),
        freeze_quantizer=_flag(path, "model.freeze_quantizer", model.get("freeze_quantizer")),
        trains_code=False,
        lora_rank=_rank(path, train.get("lora_rank")),
    )


def _from_toml(path: str, values: dict[str, Any], base: str) -> S2Run:
    subject, data = (_section(path, values, name) for name in ("subject", "data"))
    return S2Run(
        config=path,
        pretrained_s2G=_path(path, "subject.pretrained_s2G", subject.get("pretrained_s2G"), base),
        exp_dir=_path(path, "data.exp_dir", data.get("exp_dir"), base),
        version=_toml_version(path, subject.get("version")),
        freeze_quantizer=_flag(path, "subject.freeze_quantizer", subject.get("freeze_quantizer")),
        trains_code=bool(subject.get("checkout") or subject.get("factory")),
        checkout=_path(path, "subject.checkout", subject.get("checkout"), base),
        is_json=False,
    )


def _toml_version(path: str, value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise UsageError(f"subject.version: expected a text, given {value!r:.80}", path)
    # tiny is a size of ours; of a tree it means the newest version that it knows
    return None if value in (None, "", "tiny") else value


def _rank(path: str, value: Any) -> str | None:
    """Return LoRA's rank as it stands in a folder's name; the web page writes a text."""
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,9}", str(value), flags=re.ASCII):
        raise UsageError(f"train.lora_rank: expected a number, given {value!r:.80}", path)
    return str(value)


def _section(path: str, values: Any, name: str) -> dict[str, Any]:
    section = values.get(name) if isinstance(values, dict) else None
    if not isinstance(section, dict):
        raise UsageError(f"has no section {name!r}; expected is GPT-SoVITS's s2 JSON or a vqcheck TOML", path)
    return section


def _path(config: str, key: str, value: Any, base: str) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise UsageError(f"expected a path, given {value!r:.80}", config, key)
    return os.path.normpath(os.path.join(base, value))


def _flag(config: str, key: str, value: Any) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise UsageError(f"expected true or false, given {value!r:.80}", config, key)
    return value
