"""Reads a configuration file, GPT-SoVITS's s2 JSON or a vqcheck TOML, into one form: the sections of the TOML.

The gate takes an `S2Run` from them, a replay a whole `Config`.
"""

import json
import os
import re
from dataclasses import dataclass
from typing import Any, Final

from vqcheck.checkpoint.file import open_regular_file
from vqcheck.checkpoint.remote.address import scheme_of
from vqcheck.checkpoint.untrusted_text import LONGEST_TOML, parse_toml
from vqcheck.errors import UsageError
from vqcheck.language import tr

_JSON_SECTIONS: Final = {
    "subject": "train",
    "training": "train",
    "replay": "train",
    "discriminator": "model",
    "spectrogram": "data",
}
"""Where the keys of a section stand in an s2 JSON; those of other sections stand in a section of the same name."""
_JSON_MODEL_KEYS: Final = ("freeze_quantizer", "version")
"""Keys of `subject` that stand in the model's section of an s2 JSON."""
_DRIVE: Final = re.compile(r"[A-Za-z]:[/\\]")
_ADDRESS: Final = re.compile(r"(?:^|[/\\])[a-zA-Z][a-zA-Z0-9+.-]+:[/\\]")
"""One that was made a path of."""
VERSIONS: Final = ("v1", "v2", "v2Pro", "v2ProPlus", "v3", "v4")


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A parsed configuration file."""

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

    def key(self, section: str, key: str) -> str:
        """Return what a key of a section of the TOML is called in this file."""
        return key_in_file(section, key, is_json=self.is_json)

    def sections(self) -> dict[str, Any]:
        """Return the sections of a vqcheck TOML as they stand, or the s2 JSON in terms of them, with more keys.

        Raises:
            UsageError: a section of the s2 JSON is missing, or it names two versions.

        """
        if not self.is_json:
            sections: dict[str, Any] = self.values
            return sections
        train, data, model = (section_of(self.values, name, self.path) for name in ("train", "data", "model"))
        subject = {key: train.get(key) for key in ("pretrained_s2G", "pretrained_s2D", "lora_rank")}
        subject |= {"freeze_quantizer": model.get("freeze_quantizer"), "version": self.named_version()}
        return {
            "subject": subject,
            "data": data,
            "training": train,
            "model": model,
            "discriminator": model,
            "spectrogram": data,
            "replay": {"seed": train.get("seed")},
        }

    def named_version(self) -> str | None:
        """Return the version that an s2 JSON names; None where it names none, as those of GPT-SoVITS before v2.

        The web page writes it into the model's section and, later, beside it, too.

        Raises:
            UsageError: it is not a text, or two are named.

        """
        model = self.values.get("model")
        named = {"model.version": model.get("version") if isinstance(model, dict) else None}
        named["version"] = self.values.get("version")
        given = {key: value for key, value in named.items() if value not in (None, "")}
        for key, value in given.items():
            if not isinstance(value, str):
                raise UsageError(f"expected a text, given {value!r:.80}", self.path, key)
        if len(set(given.values())) > 1:
            raise UsageError(
                f"model.version is {given['model.version']!r:.40}, version {given['version']!r:.40}", self.path
            )
        return next(iter(given.values()), None)


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
    """Whether it is GPT-SoVITS's own configuration, and so shows by its fields how old the tree is."""
    python: str | None = None
    """The Python that has the tree's packages, where the command line says it; a TOML's own is read with the rest."""

    @property
    def voice(self) -> str:
        """The name of the experiment; empty where the config names none."""
        return experiment_name(self.exp_dir) if self.exp_dir else ""

    def key(self, section: str, key: str) -> str:
        """Return what a key of a section of the TOML is called in the file that the user has."""
        return key_in_file(section, key, is_json=self.is_json)


def key_in_file(section: str, key: str, *, is_json: bool) -> str:
    """Return what a key of a section of the TOML is called in a file of this kind, as `train.pretrained_s2G`."""
    if is_json:
        of_model = section == "subject" and key in _JSON_MODEL_KEYS
        section = "model" if of_model else _JSON_SECTIONS.get(section, section)
    return f"{section}.{key}" if section else key


def experiment_name(exp_dir: str) -> str:
    """Return the name of an experiment's directory, also of a path as another system writes it."""
    return re.split(r"[/\\]", exp_dir.rstrip("/\\"))[-1]


def resolved(given: str, base: str) -> str:
    r"""Return where a path in a configuration leads that counts from `base`.

    Backslashes divide folders on every system, as the web page of a Windows machine writes them, unless a file is
    there that has them in its name. A path of another system's drive (`D:\...`) leads nowhere and stays as it is. An
    address is the path of a file of that name and nothing else: what a file says is never fetched.
    """
    if os.sep == "/" and _DRIVE.match(given):
        return given
    base = ("./" if scheme_of(given) else "") if base in (".", "") else base
    whole = os.path.join(base, given)
    if os.sep == "/" and "\\" in given and not os.path.lexists(whole):
        whole = os.path.join(base, given.replace("\\", "/"))
    return whole


def absent(path: str) -> str:
    """Return the words for a path in a configuration that leads nowhere, and what may help."""
    if os.sep == "/" and _DRIVE.match(path):
        return tr("there is no {path}, a path of a Windows machine; write where it is on this one", path=path)
    if _ADDRESS.search(path):
        return tr("an address in a configuration is never fetched; download the file, and name where it is")
    return tr("there is no {path} (--root sets where relative paths begin)", path=os.path.abspath(path))


def read_config_file(path: str) -> ConfigFile:
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
        raise UsageError("is not a configuration (neither TOML nor JSON text)", path) from None
    if len(text) > LONGEST_TOML:
        raise UsageError(f"is longer than any configuration (more than {LONGEST_TOML} characters)", path)
    is_json = text.lstrip()[:1] == "{"
    try:
        values = json.loads(text) if is_json else parse_toml(text)
    except (ValueError, RecursionError) as error:
        kind = "JSON" if is_json else "TOML"
        raise UsageError(f"is not valid {kind}: {' '.join(str(error).split())}", path) from None
    return ConfigFile(path, is_json, values)


def read_s2_run(path: str, root: str | None) -> S2Run:
    """Return the run that a config describes. Only what is needed is looked at; a replay validates the rest.

    Relative paths count from `root`, or from where `ConfigFile.base` says.

    Raises:
        UsageError: the file cannot be read, or is not such a config.

    """
    file = read_config_file(path)
    sections, base = file.sections(), file.base(root)
    subject, data = (section_of(sections, name, path) for name in ("subject", "data"))
    # The web page writes the rank beside what is trained; a TOML may do without the section.
    trained = subject if file.is_json else section_of({"training": {}, **sections}, "training", path)

    def given(key: str, kind: type, expected: str) -> Any:
        return _typed(path, file.key("subject", key), subject.get(key), kind, expected)

    version = given("version", str, "a text")
    exp_dir = _typed(path, "data.exp_dir", data.get("exp_dir"), str, "a path")
    return S2Run(
        config=path,
        pretrained_s2G=_resolved(given("pretrained_s2G", str, "a path"), base),
        exp_dir=_resolved(exp_dir, base),
        # the tiny ones are sizes of ours; of a tree they mean the newest version that it knows, and v3
        version={None: None, "": None, "tiny": None, "tiny-v3": "v3"}.get(version, version),
        freeze_quantizer=given("freeze_quantizer", bool, "true or false"),
        trains_code=not file.is_json and bool(subject.get("checkout") or subject.get("factory")),
        root=root,
        lora_rank=lora_rank(path, trained.get("lora_rank")),
        checkout=_resolved(given("checkout", str, "a path"), base),
        is_json=file.is_json,
    )


def section_of(values: Any, name: str, path: str) -> dict[str, Any]:
    """Return a section; raises UsageError where there is none."""
    section = values.get(name) if isinstance(values, dict) else None
    if not isinstance(section, dict):
        raise UsageError(f"has no section '{name}'; expected is GPT-SoVITS's s2 JSON or a vqcheck TOML", path)
    return section


def _typed(path: str, key: str, value: Any, kind: type, expected: str) -> Any:
    if value is not None and not isinstance(value, kind):
        raise UsageError(f"expected {expected}, given {value!r:.80}", path, key)
    return value


def _resolved(given: str | None, base: str) -> str | None:
    return os.path.normpath(resolved(given, base)) if given else None


def lora_rank(path: str, value: Any) -> str | None:
    """Return LoRA's rank as it stands in a folder's name; the web page writes a text."""
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,9}", str(value), flags=re.ASCII):
        raise UsageError(f"train.lora_rank: expected a number, given {value!r:.80}", path)
    return str(value)
