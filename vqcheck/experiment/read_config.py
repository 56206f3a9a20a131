"""Reads the whole configuration of a replay, of either kind, and says in one line what is wrong with it."""

import difflib
import os
from typing import Any

from pydantic import BaseModel, ValidationError

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.codebook.model import identify
from vqcheck.errors import UsageError
from vqcheck.experiment.config import FLOW_VERSIONS, Config, DiscriminatorConfig
from vqcheck.experiment.config_file import VERSIONS, ConfigFile, absent, lora_rank, read_config_file, resolved
from vqcheck.language import tr
from vqcheck.sanitize import without_credentials

_PATHS = (
    ("subject", "checkout"),
    ("subject", "pretrained_s2G"),
    ("subject", "pretrained_s2D"),
    ("data", "exp_dir"),
    ("data", "symbols"),
)
_SPELLINGS = {
    "subject.factory": tr("package.module:function (a module's name, not a file)"),
    "subject.generator": tr("the name of a class"),
}
"""What a text with a pattern looks like, for people."""
_SHIPPED_UNUSED: dict[bool, dict[str, tuple[str, ...]]] = {
    True: {
        "training": ("text_low_lr_rate", "c_mel", "c_kl", "segment_size"),
        "model": (
            "resblock",
            "resblock_kernel_sizes",
            "resblock_dilation_sizes",
            "upsample_rates",
            "upsample_initial_channel",
            "upsample_kernel_sizes",
            "posterior_layers",
            "flow_layers",
            "n_flows",
        ),
        "discriminator": tuple(DiscriminatorConfig.model_fields),
        "spectrogram": ("n_mel_channels", "mel_fmin", "mel_fmax"),
    },
    False: {
        "training": ("grad_ckpt",),
        "model": ("dit_dim", "dit_depth", "dit_heads", "dit_ff_mult", "dit_conv_layers"),
    },
}
"""Whether a version learns a flow -> section -> keys that the shipped networks have no use for."""


def read_config(path: str, root: str | None = None, **subject: Any) -> Config:
    """Return the configuration in a vqcheck TOML or a GPT-SoVITS s2 JSON, every path in it resolved and present.

    Relative paths count from `root`, or from where `ConfigFile.base` says. `subject` as in `with_subject`.

    Raises:
        UsageError: the file is missing or malformed, a key is unknown, of no use or its value wrong, a path leads
            nowhere.
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
    config = with_subject(config, **subject)
    if not file.is_json:  # an s2 JSON has every key, whatever the version
        _refuse_unused(config, path)
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
            raise UsageError(
                tr("{section}.{key} is missing; the training script needs it", section=section, key=key), file.path
            )
    if "pretrained_s2G" not in sections["training"]:
        raise UsageError(
            tr("train.pretrained_s2G is missing; it may be empty, but then the weights start fresh"), file.path
        )
    version = sections["subject"]["version"]
    if version is not None and version not in VERSIONS:
        raise UsageError(
            tr(
                "model.version: expected one of {versions}, given {version}",
                versions=", ".join(VERSIONS),
                version=repr(version),
            ),
            file.path,
        )
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


def _refuse_unused(config: Config, path: str) -> None:
    """Refuse keys that the version has no use for; of networks that are not ours that is not known."""
    version = config.subject.version
    if config.subject.checkout or config.subject.factory:
        return
    for section, unused in _SHIPPED_UNUSED[version in FLOW_VERSIONS].items():
        for key, value in getattr(config, section).model_dump(exclude_unset=True).items():
            if key in unused and value is not None:
                raise UsageError(
                    tr(
                        "{section}.{key}: {version} does not use it; remove the key",
                        section=section,
                        key=key,
                        version=version,
                    ),
                    path,
                )


def _resolve(config: Config, section: str, key: str, base: str, file: ConfigFile) -> Config:
    given: str | None = getattr(getattr(config, section), key)
    if not given:
        return config.model_copy(update={section: getattr(config, section).model_copy(update={key: None})})
    path = resolved(given, base)
    if not os.path.exists(path):
        raise UsageError(
            tr(
                "{key} = {given}: {problem}",
                key=file.key(section, key),
                given=without_credentials(repr(given)),
                problem=absent(path),
            ),
            file.path,
        )
    return config.changed(section, **{key: path})


def _version_of_base(config: Config, path: str) -> str:
    """Return the version of an s2 JSON that names none, as those of trees before v2: its pretrained generator's."""
    base = config.subject.pretrained_s2G
    if base is None:
        raise UsageError(tr("model.version is missing, and there is no pretrained_s2G to go by"), path)
    with open_checkpoint(base) as checkpoint:
        version = identify(checkpoint).version
    if version not in VERSIONS:
        raise UsageError(
            tr("model.version is missing, and the tensors of {base} do not show their version", base=str(base)), path
        )
    return version


def _first_problem(error: ValidationError, file: ConfigFile | None = None) -> str:
    """Return the first problem in words, with the nearest key where one is unknown."""
    problem = error.errors()[0]
    section, *rest = (str(part) for part in problem["loc"])
    where = file.key(section, ".".join(rest)) if file and rest else ".".join((section, *rest))
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(problem["loc"][-1]), _keys_at(problem["loc"][:-1]), 1, 0.5)
        unknown = tr("unknown key {key}", key=where)
        if near:
            return tr("{message}; did you mean {names}?", message=unknown, names=near[0])
        return tr("{message}; known: {names}", message=unknown, names=", ".join(_keys_at(problem["loc"][:-1])))
    given = problem["input"]
    if problem["type"] == "string_pattern_mismatch":
        spelling = _SPELLINGS[".".join((section, *rest))]
        return tr("{key}: expected {expected}, given {value}", key=where, expected=spelling, value=repr(given))
    said = f"{problem['msg'][:1].lower()}{problem['msg'][1:]}"
    if isinstance(given, dict):
        return tr("{name}: {text}", name=where, text=said)
    return tr("{key}: {problem}, given {value}", key=where, problem=said, value=repr(given))


def _keys_at(location: tuple[int | str, ...]) -> list[str]:
    section: type[BaseModel] = Config
    for part in location:
        kind = section.model_fields[str(part)].annotation
        assert isinstance(kind, type)
        assert issubclass(kind, BaseModel)
        section = kind
    return list(section.model_fields)
