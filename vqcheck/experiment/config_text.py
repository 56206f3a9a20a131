"""The text of a configuration, which is GPT-SoVITS's s2 JSON or a vqcheck TOML."""

import json
import os
from dataclasses import dataclass
from typing import Any

from vqcheck.checkpoint.file import open_regular_file
from vqcheck.checkpoint.untrusted_text import LONGEST_TOML, parse_toml
from vqcheck.errors import UsageError


@dataclass(frozen=True, slots=True)
class ConfigText:
    """A parsed configuration file, of which nothing but the syntax was looked at."""

    path: str
    is_json: bool
    values: Any
    """Whatever stands in a JSON file; a table from a TOML."""

    def base(self, root: str | None) -> str:
        """Return the folder from which relative paths count.

        It is `root`; without it the folder of a TOML file and, as for upstream's training script, the working directory
        for an s2 JSON.
        """
        if root is not None:
            return root
        return "." if self.is_json else os.path.dirname(self.path)


def read_config_text(path: str) -> ConfigText:
    """Return what stands in a configuration file.

    Raises:
        UsageError: the file cannot be read, or is neither JSON nor TOML.

    """
    try:
        with open(path, encoding="utf-8-sig", opener=open_regular_file) as file:
            text = file.read(LONGEST_TOML + 1)
    except OSError as error:
        if os.path.isdir(path):
            raise UsageError("is a folder; name the configuration (TEMP/tmp_s2.json, or a TOML)", path) from None
        raise UsageError(f"cannot be read: {error.strerror}", path) from None
    except UnicodeDecodeError:
        raise UsageError("is no configuration (neither TOML nor JSON text)", path) from None
    if len(text) > LONGEST_TOML:
        raise UsageError(f"is longer than any configuration (more than {LONGEST_TOML} characters)", path)
    is_json = text.lstrip()[:1] == "{"
    try:
        values = json.loads(text) if is_json else parse_toml(text)
    except (ValueError, RecursionError) as error:
        kind = "JSON" if is_json else "TOML"
        raise UsageError(f"is no valid {kind}: {' '.join(str(error).split())}", path) from None
    return ConfigText(path, is_json, values)


def named_version(values: dict[str, Any], path: str) -> str | None:
    """Return the version that an s2 JSON names; None where it names none, as those of GPT-SoVITS before v2.

    The web page writes it into the model's section and, later, beside it, too.

    Raises:
        UsageError: it is no text, or two are named.

    """
    model = values.get("model")
    named = {"model.version": model.get("version") if isinstance(model, dict) else None}
    named["version"] = values.get("version")
    told = {key: value for key, value in named.items() if value not in (None, "")}
    for key, value in told.items():
        if not isinstance(value, str):
            raise UsageError(f"expected a text, given {value!r:.80}", path, key)
    if len(set(told.values())) > 1:
        raise UsageError(f"model.version is {told['model.version']!r:.40}, version {told['version']!r:.40}", path)
    return next(iter(told.values()), None)
