"""GPT-SoVITS's s2 JSON, as its training script gets it, in terms of our own configuration.

Every key that upstream reads in the step is taken over as it stands; the others are ignored, as upstream does.
"""

from typing import Any

from pydantic import BaseModel

from vqcheck.errors import UsageError
from vqcheck.experiment.config import DiscriminatorConfig, ModelConfig, SpectrogramConfig, TrainingConfig
from vqcheck.experiment.config_text import named_version

VERSIONS = ("v1", "v2", "v2Pro", "v2ProPlus", "v3", "v4")


def translate(values: Any, path: str) -> dict[str, Any]:
    """Return the sections of a `Config` for a parsed s2 JSON.

    Raises:
        UsageError: a section or a field that upstream's training script needs is missing, or the version is none of
            upstream's.

    """
    train, data, model = (_section(values, name, path) for name in ("train", "data", "model"))
    for name, section, key in (("train", train, "batch_size"), ("data", data, "exp_dir")):
        if not section.get(key):
            raise UsageError(f"{name}.{key} is missing; the training script needs it", path)
    if "pretrained_s2G" not in train:
        raise UsageError("train.pretrained_s2G is missing; it may be empty, but then weights are fresh", path)
    return {
        "subject": {
            **_version(values, path),
            "pretrained_s2G": train["pretrained_s2G"] or None,
            "pretrained_s2D": train.get("pretrained_s2D") or None,
            # upstream's class does not freeze unless it is told to
            "freeze_quantizer": bool(model.get("freeze_quantizer")),
        },
        "data": {"exp_dir": data["exp_dir"]},
        "training": _known(train, TrainingConfig),
        "model": _known(model, ModelConfig),
        "discriminator": _known(model, DiscriminatorConfig),
        "spectrogram": _known(data, SpectrogramConfig),
        "replay": {"seed": train["seed"]} if "seed" in train else {},
    }


def _section(values: Any, name: str, path: str) -> dict[str, Any]:
    section = values.get(name) if isinstance(values, dict) else None
    if not isinstance(section, dict):
        raise UsageError(f"is no s2 configuration of GPT-SoVITS: it has no section {name!r}", path)
    return section


def _known(section: dict[str, Any], kind: type[BaseModel]) -> dict[str, Any]:
    return {key: section[key] for key in kind.model_fields if section.get(key) is not None}


def _version(values: dict[str, Any], path: str) -> dict[str, str]:
    """Return the version as a key of `subject`; none where the file names none, and then it is the base's."""
    version = named_version(values, path)
    if version is not None and version not in VERSIONS:
        raise UsageError(f"model.version: expected one of {', '.join(VERSIONS)}, given {version!r}", path)
    return {} if version is None else {"version": version}
