"""Names a file or folder that is not a checkpoint, and the command that helps: the line a user meets first."""

import os
import re
import tarfile
from collections.abc import Collection
from typing import Final

from vqcheck.checkpoint.checkpoint_names import DISTRIBUTED, DISTRIBUTED_PART, SHARD, is_checkpoint_name, is_distributed
from vqcheck.checkpoint.checkpoint_names import listed as first_of
from vqcheck.language import listed, tr
from vqcheck.sanitize import sanitize, sanitize_name

HEAD: Final = 512
"""Bytes of a file's beginning by which it is known."""

MAGIC_AS_TEXT: Final = b"L119547037146038801333356"
"""How a torch file begins that was saved with a pickle protocol for text."""


def _compressed(kind: str, *commands: str) -> str:
    return tr(
        "is compressed with {kind}; unpack it and name the checkpoint in it ({commands})",
        kind=kind,
        commands=listed(commands, last="or"),
    )


def _packed(kind: str, command: str) -> str:
    return tr("is a {kind} archive; unpack it and name the checkpoint in it ({command})", kind=kind, command=command)


_MAGIC: Final = (
    (
        rb"version https://git-lfs",
        tr("is a git-lfs pointer, not the file it stands for; run 'git lfs pull' in its folder"),
    ),
    (
        rb"(?i)(\xef\xbb\xbf)?\s*<.{0,400}?(doctype html|html|head|body|script)\b",
        tr("is a web page (HTML); the download went wrong; fetch the file itself"),
    ),
    (
        rb"(\xef\xbb\xbf)?\s*<\?xml",
        tr("is an XML document, such as a server's error message; the download went wrong; fetch the file itself"),
    ),
    (rb"\x1f\x8b", _compressed("gzip", "tar -xzf", "gunzip")),
    (rb"BZh[1-9]", _compressed("bzip2", "tar -xjf", "bunzip2")),
    (rb"\xfd7zXZ\0", _compressed("xz", "tar -xJf", "unxz")),
    (rb"\x28\xb5\x2f\xfd", _compressed("zstd", "zstd -d")),
    (rb"\x04\x22\x4d\x18", _compressed("lz4", "lz4 -d")),
    (rb"7z\xbc\xaf\x27\x1c", _packed("7z", "7z x")),
    (rb"Rar!\x1a\x07", _packed("rar", "unrar x")),
    (
        rb"GGUF",
        tr("is a GGUF file (llama.cpp), which vqcheck does not read; name the checkpoint that it was made from"),
    ),
    (
        rb"\x89HDF\r\n\x1a\n",
        tr("is an HDF5 file (Keras), which vqcheck does not read; save a state_dict() or safetensors"),
    ),
    (rb"....TFL3", tr("is a TensorFlow Lite model, which vqcheck does not read")),
    (
        rb"IxF[2Il]|I[vw]Fl|I[vw]PQ|IwSq|IHNf|IxPq",
        tr("is a FAISS index (of a retrieval), which holds no codebook; name the model itself"),
    ),
    (rb"(RIFF|RF64)....WAVE|fLaC|OggS|ID3|\xff[\xfb\xf3\xf2]", tr("is an audio file; name the model's checkpoint")),
    (rb"%PDF-|\x89PNG|\xff\xd8\xff|GIF8", tr("is a document or picture; name the model's checkpoint")),
    (rb"\x7fELF|MZ.{58}", tr("is a program or library; name the model's checkpoint")),
    (rb"\0{64}", tr("begins with zeros only: it was never written, or the download went wrong; fetch the file itself")),
)
"""(what a file begins with, what it is)."""

_BY_NAME: Final = (
    ((".onnx",), tr("is an ONNX file, which vqcheck does not read; name the checkpoint that it was exported from")),
    ((".gguf",), tr("has the name of a GGUF file (llama.cpp), which vqcheck does not read")),
    (
        (".index",),
        tr("has the name of an index (for retrieval, or TensorFlow's), which holds no model; name the model itself"),
    ),
)
_UNFINISHED: Final = (".part", ".partial", ".crdownload", ".download", ".incomplete", ".opdownload", ".!ut")
_ADDRESS: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:[/\\][^/\\]")
"""What `pathlib` makes of one."""
_OLD_TORCH: Final = ("sys_info", "pickle", "storages", "tensors")


def path_kind(path: str) -> str:
    """Return what a path is that leads to no file: an address that has lost a slash, or empty."""
    if _ADDRESS.match(path) and not os.path.exists(path):
        return tr("is an address that has lost a slash, as in a Path; give it as a text (https://...)")
    return ""


def file_kind(path: str, head: bytes) -> str:
    """Return what a file is, given its first `HEAD` bytes, or an empty text where nothing is known."""
    for pattern, kind in _MAGIC:
        if re.match(pattern, head, re.DOTALL):
            return kind
    for endings, kind in _BY_NAME:
        if path.lower().endswith(endings):
            return kind
    if b'\ncheckpoint "' in head and head.startswith(b"# The VQ encoder that "):
        return tr("is a vqcheck lock; 'vqcheck lock --check CHECKPOINT -o LOCK' verifies a checkpoint against it")
    return tr("is a text file, not a checkpoint") if _is_text(head) else ""


def is_other_model(head: bytes) -> bool:
    """Say whether a file that is none of the checkpoints that are read holds a model all the same."""
    return bool(tar_kind(head)) or head.startswith((b"GGUF", b"\x89HDF\r\n", b"\x93NUMPY", MAGIC_AS_TEXT))


def unfinished(path: str) -> str:
    """Return why a file is not whole yet, by its name or what stands beside it, or an empty text."""
    if os.path.exists(f"{path}.aria2"):
        # It gives a file its full size before its content.
        return tr(
            "is not downloaded completely ({file}.aria2 says so); let aria2 finish it",
            file=sanitize(os.path.basename(path)),
        )
    return (
        tr("has the name of an unfinished download; finish it, or start again")
        if path.lower().endswith(_UNFINISHED)
        else ""
    )


def tar_kind(head: bytes) -> str:
    """Return what a tar archive is, or an empty text. torch looks for one before it looks for a legacy file."""
    try:
        name = tarfile.TarInfo.frombuf(head[:512], "utf-8", "surrogateescape").name
    except (tarfile.TarError, ValueError):
        return ""
    if name in _OLD_TORCH:
        return tr("is a tar archive of torch before 0.1.10; save it again with a newer torch")
    return tr(
        "is a tar archive ({name}, ...); unpack it and name the checkpoint in it (tar -xf)",
        name=sanitize_name(name),
    )


def zip_kind(members: Collection[str]) -> str:
    """Return what a zip archive is that has no torch index."""
    if any(name.endswith("/models/model.json") for name in members):
        return tr(
            "is a program of torch.export, which vqcheck does not read; name the checkpoint that it was made from"
        )
    inside = [name for name in members if is_checkpoint_name(name)]
    if inside:
        return tr(
            "is a zip archive with checkpoints inside; unpack it (unzip) and name one: {names}", names=first_of(inside)
        )
    return tr("a zip archive, but no torch checkpoint (no data.pkl inside)")


def folder_kind(folder: str, names: list[str]) -> str:
    """Return what a folder is in which no checkpoint is found, and what to name instead."""
    inner = [name for name in names if os.path.isdir(os.path.join(folder, name))]
    with_some = [name for name in inner if _has_checkpoint(os.path.join(folder, name))]
    if not names:
        return tr("is an empty folder")
    if any(name.endswith(DISTRIBUTED_PART) for name in names):
        return tr("holds parts of a distributed checkpoint without their common index (.metadata); copy that, too")
    if DISTRIBUTED in names:
        return tr(
            "holds the index of a distributed checkpoint (.metadata) without its parts (*.distcp); copy those, too"
        )
    if "zero_to_fp32.py" in names or any(name.startswith("global_step") for name in inner):
        return tr("is a DeepSpeed checkpoint; make one file from it (python zero_to_fp32.py . OUT) and name that")
    if "6-name2semantic.tsv" in names or "2-name2text.txt" in names or "4-cnhubert" in inner:
        runs = first_of([name for name in inner if name.startswith("logs_s")]) or "logs_s2*"
        return tr(
            "is an experiment folder of GPT-SoVITS; name a checkpoint in it ({folders}) or in SoVITS_weights*",
            folders=runs,
        )
    if "saved_model.pb" in names or any(".data-00000-of-" in name for name in names):
        return tr("is a TensorFlow checkpoint, which vqcheck does not read")
    if any(SHARD.fullmatch(name) for name in names):
        return tr("holds shards of a model without their index (*.index.json); download that, too")
    if with_some:
        return tr(
            "is a directory, expected a checkpoint file or a folder with one; these folders in it hold checkpoints: "
            "{folders}",
            folders=first_of(with_some),
        )
    others = sorted({kind for name in names for endings, kind in _BY_NAME if name.lower().endswith(endings)})
    if others:
        return tr("holds no checkpoint that vqcheck reads; what it holds {kind}", kind=others[0])
    if "config.json" in names:
        return tr("is a model folder without weights (no *.safetensors, *model.bin, *.pth); download those, too")
    return tr(
        "is a directory, expected a checkpoint file or a folder with one; it holds {names}", names=first_of(names)
    )


def _has_checkpoint(folder: str) -> bool:
    try:
        names = os.listdir(folder)
        return is_distributed(names) or any(map(is_checkpoint_name, names))
    except OSError:
        return False


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The last character may be cut off.
        if error.start < HEAD - 3:
            return False
        text = head[: error.start].decode()
    return all(char.isprintable() or char in "\t\r\n\f" for char in text)
