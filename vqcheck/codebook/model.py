"""What kind of model a checkpoint holds, by the shapes of its tensors and never by the size of the file."""

import hashlib
import os
import re
from collections.abc import Collection
from functools import cached_property
from typing import Final

from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook.tensor_names import is_endless, unwrapped
from vqcheck.codebook.vq_encoder import is_lora
from vqcheck.language import listed, tr, trn
from vqcheck.quick_dataclass import quick_dataclass
from vqcheck.word_enum import WordEnum

# MD5 of the first 8 KiB of the published base models, as upstream's own loader knows them.
_KNOWN_BASES: Final = {
    "dc3c97e17592963677a4a1681f30c653": ("s2G488k.pth", "v1"),
    "6642b37f3dbb1f76882b69937c95a5f3": ("s2G2333k.pth", "v2"),
    "43797be674a37c1c83ee81081941ed0f": ("s2Gv3.pth", "v3"),
    "4f26b9476d0c5033e04162c486074374": ("s2Gv4.pth", "v4"),
    "c7e9fce2223f3db685cdfa1e6368728a": ("s2Gv2Pro.pth", "v2Pro"),
    "66b313e39455b57ab1b0bc0b239c9d0a": ("s2Gv2ProPlus.pth", "v2ProPlus"),
}
_HEADER_VERSION: Final = {
    "00": "v1",
    "01": "v2",
    "02": "v3",
    "03": "v3",
    "04": "v4",
    "05": "v2Pro",
    "06": "v2ProPlus",
}
_SYNTHESIZER: Final = frozenset({"enc_p", "cfm", "ssl_proj"})
"""Modules of a synthesizer of GPT-SoVITS, one of which stands beside the quantizer in every file of it."""
_TELLING: Final = _SYNTHESIZER | {"ar_audio_embedding", "discriminators"}
"""Modules that stand at the top of GPT-SoVITS's models."""
_LATEST_ONLY: Final = 233333333333
"""The step number upstream puts into a file's name when it keeps only the latest checkpoint."""


class VersionSign(WordEnum):
    """What shows which model of which version a file holds."""

    PHONEMES = "phonemes"
    """A token embedding and no quantizer; the number is that of its phonemes."""
    DISCRIMINATORS = "discriminators"
    NO_TENSORS = "no tensors"
    """None has a name that GPT-SoVITS gives."""
    TEXT_SYMBOLS = "text symbols"
    REFERENCE_BINS = "reference bins"
    """Of the spectrogram that the reference encoder reads."""
    NAMES = "names"
    """Only names of tensors: nothing that versions differ in is stored."""
    SPEAKER_EMBEDDING = "speaker embedding"
    """The number is that of the decoder's channels, which differ."""
    FLOW_MATCHING = "flow matching"
    PUBLISHED = "published"
    """It is a published base model by its first 8 KiB."""
    HEADER_CODE = "header code"
    CONFIG = "config"
    """`config.model.version` in the file."""
    FOLDER = "folder"
    """The name of the folder that it is in."""
    NOTHING_TELLS = "nothing tells"
    """Neither the file nor its folder tells v3 from v4."""


@quick_dataclass(frozen=True, slots=True)
class VersionEvidence:
    """One thing that shows the version, with the number or name that it is about."""

    sign: VersionSign
    value: str = ""

    def __str__(self) -> str:
        value = self.value
        return {
            VersionSign.PHONEMES: tr("a token embedding and no quantizer, {number} phonemes", number=value),
            VersionSign.DISCRIMINATORS: tr("tensors named discriminators.*"),
            VersionSign.NO_TENSORS: tr("no GPT-SoVITS tensors"),
            VersionSign.TEXT_SYMBOLS: tr("{number} text symbols", number=value),
            VersionSign.REFERENCE_BINS: tr("reference encoder over {number} bins", number=value),
            VersionSign.NAMES: tr("only names of tensors"),
            VersionSign.SPEAKER_EMBEDDING: tr("a speaker embedding, decoder of {number} channels", number=value),
            VersionSign.FLOW_MATCHING: tr("flow matching"),
            VersionSign.PUBLISHED: tr("a published base model by its first 8 KiB"),
            VersionSign.HEADER_CODE: tr("header code {header_code}", header_code=value),
            VersionSign.CONFIG: "config.model.version",
            VersionSign.FOLDER: tr("the name of its folder, {folder}", folder=value),
            VersionSign.NOTHING_TELLS: tr("neither the file nor its folder shows whether it is v3 or v4"),
        }[self.sign]


@quick_dataclass(frozen=True, slots=True)
class Model:
    """The model a checkpoint belongs to."""

    kind: str
    """`s2 synthesizer`, `s2 LoRA export`, `s2 LoRA training file`, `s2 discriminator`, `s1 GPT` or `unknown`."""
    version: str
    """`v1`, `v2`, `v3`, `v4`, `v3 or v4`, `v2Pro`, `v2ProPlus`, or empty where it is not known."""
    evidence: tuple[VersionEvidence, ...]
    base: str = ""
    """Name of the published base model, where the file is one."""
    lacks: tuple[str, ...] = ()
    """Modules that the file leaves to its base model, as an export of its kind does."""


@quick_dataclass(frozen=True, slots=True)
class Training:
    """Where in training a checkpoint was written; None where the file does not say."""

    info: str | None
    epoch: int | None
    steps: int | None


class _Shapes:
    """Tensor shapes by name, without wrappers and without whatever stands in front of the model."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        tensors = self._checkpoint.tensors
        shapes = {unwrapped(name): tensor.shape for name, tensor in tensors.items() if not is_endless(name)}
        prefix = _prefix(shapes)
        return {name[len(prefix) :]: shape for name, shape in shapes.items() if name.startswith(prefix)}

    def size(self, name: str, axis: int) -> int | None:
        shape = self.shapes.get(name, ())
        return shape[axis] if axis < len(shape) else None

    def any(self, beginning: str) -> bool:
        return any(name.startswith(beginning) for name in self.shapes)


def identify(checkpoint: Checkpoint) -> Model:
    """Return what model a checkpoint holds, with the evidence for it."""
    names = _Shapes(checkpoint)
    if _is_s1(names):
        phonemes = names.size("ar_text_embedding.word_embeddings.weight", 0)
        version = {512: "v1", 732: "v2 or later"}.get(phonemes or 0, "")
        return Model("s1 GPT", version, _shown_by(VersionSign.PHONEMES, phonemes))
    if names.any("discriminators."):
        return Model("s2 discriminator", "", _shown_by(VersionSign.DISCRIMINATORS))
    base_name, base_version = _KNOWN_BASES.get(_head_digest(checkpoint), ("", ""))
    if names.any("cfm."):
        version, evidence = _flow_matching_version(checkpoint, base_version)
    else:
        version, evidence = _version_by_shapes(names)
    lora = is_lora(checkpoint.tensors)
    if not version and not lora and not names.any("enc_p."):
        return Model("unknown", "", _shown_by(VersionSign.NO_TENSORS))
    lacks: tuple[str, ...] = ()
    if lora:
        lacks = tuple(part for part in ("ssl_proj", "enc_p") if not names.any(f"{part}."))
    elif not names.any("enc_q.") and not names.any("cfm."):  # v3 and v4 have none to leave out
        lacks = ("enc_q",)
    kind = "s2 synthesizer"
    if lora:
        resumable = checkpoint.has_optimizer or "iteration" in checkpoint.information
        kind = "s2 LoRA training file" if resumable else "s2 LoRA export"
    return Model(kind, version, evidence, base_name, lacks)


def is_published_base(checkpoint: Checkpoint) -> bool:
    """Say whether a file is one of the published base models, by its first 8 KiB."""
    return _head_digest(checkpoint) in _KNOWN_BASES


def base_model(checkpoint: Checkpoint) -> str:
    """Return the words for the base model of an export, with the names of published ones where they are known."""
    bases = published_bases(identify(checkpoint).version)
    if bases:
        return tr("its base model ({files}, or what it was trained from)", files=listed(bases, last="or"))
    return tr("its base model")


def published_bases(version: str) -> list[str]:
    """Return the file names of the published base models of a version such as `v2` or `v3 or v4`."""
    return [name for name, base_version in _KNOWN_BASES.values() if base_version in version.split(" or ")]


def training(checkpoint: Checkpoint) -> Training:
    """Return epoch and step counts from what the file and its name say."""
    information = checkpoint.information
    info = information.get("info")
    epoch = information.get("iteration", information.get("epoch"))
    steps = information.get("global_step")
    if isinstance(info, str):
        if match := re.search(r"(\d{1,9})epoch", info):
            epoch = int(match[1])
        if match := re.search(r"(\d{1,12})iteration", info):
            steps = int(match[1])
    if steps is None and (match := re.fullmatch(r"[GD]_(\d{1,12})\.pth", os.path.basename(checkpoint.path))):
        steps = int(match[1])
    return Training(
        info if isinstance(info, str) else None,
        epoch if type(epoch) is int else None,
        steps if type(steps) is int and steps != _LATEST_ONLY else None,
    )


def why_no_codebook(checkpoint: Checkpoint) -> str:
    """Return one line on what a file without a codebook is, and which file holds one."""
    model = identify(checkpoint)
    if model.kind == "s1 GPT":
        return tr(
            "is an s1 (GPT) checkpoint: it predicts tokens and holds no codebook; "
            "use the s2 generator its tokens were extracted with (pretrained s2G*.pth or an exported weight)"
        )
    if model.kind == "s2 discriminator":
        return tr("is an s2 discriminator: it holds no codebook; the generator does (s2G*.pth, G_*.pth)")
    if checkpoint.format == "npy":
        return tr('is one array without a name; --family FILE says what it is (codes = "array" in its TOML)')
    count = len(checkpoint.tensors)
    tensors = trn("one tensor, not under a known name", "{number} tensors, none under known names", count)
    return tr("holds no codebook that vqcheck knows ({tensors})", tensors=tensors)


def _head_digest(checkpoint: Checkpoint) -> str:
    return hashlib.md5(checkpoint.head(8192), usedforsecurity=False).hexdigest()


def _prefix(names: Collection[str]) -> str:
    """Return what stands in front of a synthesizer, wherever in the model it is; else what all names begin with."""
    modules: dict[str, set[str]] = {}
    for name in names:
        prefix = ""
        for part in name.split(".")[:-1]:
            modules.setdefault(prefix, set()).add(part)
            prefix += f"{part}."
    found = [
        prefix for prefix, inside in modules.items() if "quantizer" in inside and not _SYNTHESIZER.isdisjoint(inside)
    ]
    if found:
        return min(found, key=lambda prefix: (prefix.count("."), prefix))
    prefix = ""
    while len(modules.get(prefix, ())) == 1 and not _TELLING & modules[prefix]:
        longer = f"{prefix}{next(iter(modules[prefix]))}."
        if not all(name.startswith(longer) for name in names):
            break
        prefix = longer
    return prefix


def _is_s1(names: _Shapes) -> bool:
    return names.any("ar_audio_embedding.") and names.any("ar_predict_layer.")


def _shown_by(sign: VersionSign, value: object = "") -> tuple[VersionEvidence, ...]:
    return (VersionEvidence(sign, str(value)),)


def _version_by_shapes(names: _Shapes) -> tuple[str, tuple[VersionEvidence, ...]]:
    symbols = names.size("enc_p.text_embedding.weight", 0)
    bins = names.size("ref_enc.spectral.0.fc.weight", 1)
    if names.any("sv_emb."):
        channels = names.size("dec.conv_pre.weight", 0)
        version = {512: "v2Pro", 768: "v2ProPlus"}.get(channels or 0, "v2Pro or v2ProPlus")
        return version, _shown_by(VersionSign.SPEAKER_EMBEDDING, channels)
    evidence = () if symbols is None else _shown_by(VersionSign.TEXT_SYMBOLS, symbols)
    evidence += () if bins is None else _shown_by(VersionSign.REFERENCE_BINS, bins)
    evidence = evidence or _shown_by(VersionSign.NAMES)
    if symbols == 322 or bins == 1025:
        return "v1", evidence
    if symbols == 732 or bins == 704:
        return "v2", evidence
    return "", evidence


def _flow_matching_version(checkpoint: Checkpoint, base_version: str) -> tuple[str, tuple[VersionEvidence, ...]]:
    """Tell v3 from v4, whose tensors have identical names and shapes."""
    version, shown = _v3_or_v4(checkpoint, base_version)
    return version, _shown_by(VersionSign.FLOW_MATCHING) + shown


def _v3_or_v4(checkpoint: Checkpoint, base_version: str) -> tuple[str, tuple[VersionEvidence, ...]]:
    if base_version:
        return base_version, _shown_by(VersionSign.PUBLISHED)
    code = checkpoint.header_code
    if code in _HEADER_VERSION:
        return _HEADER_VERSION[code], _shown_by(VersionSign.HEADER_CODE, code)
    version = _config_version(checkpoint)
    if version:
        return version, _shown_by(VersionSign.CONFIG)
    folder = os.path.basename(os.path.dirname(os.path.abspath(checkpoint.path)))
    if match := re.fullmatch(r"logs_s2_(v3|v4)(?:_lora_\d{1,9})?", folder):
        return match[1], _shown_by(VersionSign.FOLDER, folder)
    return "v3 or v4", _shown_by(VersionSign.NOTHING_TELLS)


def _config_version(checkpoint: Checkpoint) -> str:
    config = checkpoint.information.get("config")
    section = config.get("model") if isinstance(config, dict) else None
    version = section.get("version") if isinstance(section, dict) else None
    return version if version in ("v3", "v4") else ""
