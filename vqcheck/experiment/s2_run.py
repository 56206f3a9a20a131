"""The facts of an s2 training run that the gate asks about, from GPT-SoVITS's s2 JSON or a vqcheck TOML.

Only what is needed is looked at; a replay's numbers are validated where they are used.
"""

import os
from dataclasses import dataclass, replace
from typing import Any

from vqcheck.errors import UsageError
from vqcheck.experiment.config_text import read_config_text


@dataclass(frozen=True, slots=True)
class S2Run:
    """One s2 training run as it is configured; paths are resolved, None where the config names none."""

    config: str
    pretrained_s2G: str | None  # noqa: N815 - upstream's spelling
    exp_dir: str | None
    version: str
    """Upstream's default `v2` where the config names none."""
    freeze_quantizer: bool | None
    """None where the config does not say."""
    trains_code: bool
    """Whether the config names the training code itself, so that it can be replayed."""
    root: str | None = None
    """Where relative paths in the config begin, if that was said."""

    @property
    def checkpoint_folder(self) -> str | None:
        """Where upstream keeps, and silently resumes from, this run's G_*.pth and D_*.pth."""
        return os.path.join(self.exp_dir, f"logs_s2_{self.version}") if self.exp_dir else None

    def resumed(self) -> str | None:
        """Return the generator checkpoint that upstream would silently resume from, if there is one.

        Upstream sorts by the number that all digits of the path make up and takes the last one.
        """
        folder = self.checkpoint_folder
        if folder is None or not os.path.isdir(folder):
            return None
        names = [name for name in os.listdir(folder) if name.startswith("G_") and name.endswith(".pth")]
        paths = [os.path.join(folder, name) for name in names]
        return max(paths, key=lambda path: int("0" + "".join(filter(str.isdecimal, path))), default=None)


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
        version=str(model.get("version") or values.get("version") or "v2"),
        freeze_quantizer=_flag(path, "model.freeze_quantizer", model.get("freeze_quantizer")),
        trains_code=False,
    )


def _from_toml(path: str, values: dict[str, Any], base: str) -> S2Run:
    subject, data = (_section(path, values, name) for name in ("subject", "data"))
    return S2Run(
        config=path,
        pretrained_s2G=_path(path, "subject.pretrained_s2G", subject.get("pretrained_s2G"), base),
        exp_dir=_path(path, "data.exp_dir", data.get("exp_dir"), base),
        version=str(subject.get("version") or "v2"),
        freeze_quantizer=_flag(path, "subject.freeze_quantizer", subject.get("freeze_quantizer")),
        trains_code=bool(subject.get("checkout") or subject.get("factory")),
    )


def _section(path: str, values: Any, name: str) -> dict[str, Any]:
    section = values.get(name) if isinstance(values, dict) else None
    if not isinstance(section, dict):
        raise UsageError(f"{path}: has no section {name!r}; expected is GPT-SoVITS's s2 JSON or a vqcheck TOML")
    return section


def _path(config: str, key: str, value: Any, base: str) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise UsageError(f"{config}: {key}: expected a path, given {value!r:.80}")
    return os.path.normpath(os.path.join(base, value))


def _flag(config: str, key: str, value: Any) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise UsageError(f"{config}: {key}: expected true or false, given {value!r:.80}")
    return value
