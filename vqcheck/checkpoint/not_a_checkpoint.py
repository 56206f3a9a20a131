"""Names a file or folder that is not a checkpoint, and the command that helps: the line a user meets first."""

import os
import re
import tarfile
from collections.abc import Collection
from typing import Final

from vqcheck.checkpoint.checkpoint_names import (
    DISTRIBUTED,
    DISTRIBUTED_PART,
    SHARD,
    is_checkpoint_name,
    is_distributed,
    listed,
)
from vqcheck.sanitize import sanitize, sanitize_name

HEAD: Final = 512
"""Bytes of a file's beginning by which it is known."""

MAGIC_AS_TEXT: Final = b"L119547037146038801333356"
"""How a torch file begins that was saved with a pickle protocol for text."""

_AGAIN: Final = "the download went wrong; fetch the file itself"
_UNPACK: Final = "unpack it and name the checkpoint in it"
_EXPECTED: Final = "is a directory, expected a checkpoint file or a folder with one"

_MAGIC: Final = (
    (rb"version https://git-lfs", "is a git-lfs pointer, not the file it stands for; run 'git lfs pull' in its folder"),
    (rb"(?i)(\xef\xbb\xbf)?\s*<.{0,400}?(doctype html|html|head|body|script)\b", f"is a web page (HTML); {_AGAIN}"),
    (rb"(\xef\xbb\xbf)?\s*<\?xml", f"is an XML document, such as a server's error message; {_AGAIN}"),
    (rb"\x1f\x8b", f"is compressed with gzip; {_UNPACK} (tar -xzf or gunzip)"),
    (rb"BZh[1-9]", f"is compressed with bzip2; {_UNPACK} (tar -xjf or bunzip2)"),
    (rb"\xfd7zXZ\0", f"is compressed with xz; {_UNPACK} (tar -xJf or unxz)"),
    (rb"\x28\xb5\x2f\xfd", f"is compressed with zstd; {_UNPACK} (zstd -d)"),
    (rb"\x04\x22\x4d\x18", f"is compressed with lz4; {_UNPACK} (lz4 -d)"),
    (rb"7z\xbc\xaf\x27\x1c", f"is a 7z archive; {_UNPACK} (7z x)"),
    (rb"Rar!\x1a\x07", f"is a rar archive; {_UNPACK} (unrar x)"),
    (rb"GGUF", "is a GGUF file (llama.cpp), which vqcheck does not read; name the checkpoint that it was made from"),
    (rb"\x89HDF\r\n\x1a\n", "is an HDF5 file (Keras), which vqcheck does not read; save a state_dict() or safetensors"),
    (rb"....TFL3", "is a TensorFlow Lite model, which vqcheck does not read"),
    (
        rb"IxF[2Il]|I[vw]Fl|I[vw]PQ|IwSq|IHNf|IxPq",
        "is a FAISS index (of a retrieval), which holds no codebook; name the model itself",
    ),
    (rb"(RIFF|RF64)....WAVE|fLaC|OggS|ID3|\xff[\xfb\xf3\xf2]", "is an audio file; name the model's checkpoint"),
    (rb"%PDF-|\x89PNG|\xff\xd8\xff|GIF8", "is a document or picture; name the model's checkpoint"),
    (rb"\x7fELF|MZ.{58}", "is a program or library; name the model's checkpoint"),
    (rb"\0{64}", f"begins with zeros only: it was never written, or {_AGAIN}"),
)
"""(what a file begins with, what it is)."""

_BY_NAME: Final = (
    ((".onnx",), "is an ONNX file, which vqcheck does not read; name the checkpoint that it was exported from"),
    ((".gguf",), "has the name of a GGUF file (llama.cpp), which vqcheck does not read"),
    (
        (".index",),
        "has the name of an index (for retrieval, or TensorFlow's), which holds no model; name the model itself",
    ),
)
_UNFINISHED: Final = (".part", ".partial", ".crdownload", ".download", ".incomplete", ".opdownload", ".!ut")
_ADDRESS: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:[/\\][^/\\]")
"""What `pathlib` makes of one."""
_OLD_TORCH: Final = ("sys_info", "pickle", "storages", "tensors")


def path_kind(path: str) -> str:
    """Return what a path is that leads to no file: an address that has lost a slash, or empty."""
    if _ADDRESS.match(path) and not os.path.exists(path):
        return "is an address that has lost a slash, as in a Path; give it as a text (https://...)"
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
        return "is a vqcheck lock; 'vqcheck lock --check CHECKPOINT -o LOCK' verifies a checkpoint against it"
    return "is a text file, not a checkpoint" if _is_text(head) else ""


def is_other_model(head: bytes) -> bool:
    """Say whether a file that is none of the checkpoints that are read holds a model all the same."""
    return bool(tar_kind(head)) or head.startswith((b"GGUF", b"\x89HDF\r\n", b"\x93NUMPY", MAGIC_AS_TEXT))


def unfinished(path: str) -> str:
    """Return why a file is not whole yet, by its name or what stands beside it, or an empty text."""
    if os.path.exists(f"{path}.aria2"):
        # It gives a file its full size before its content.
        return f"is not downloaded completely ({sanitize(os.path.basename(path))}.aria2 says so); let aria2 finish it"
    return (
        "has the name of an unfinished download; finish it, or start again"
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
        return "is a tar archive of torch before 0.1.10; save it again with a newer torch"
    return f"is a tar archive ({sanitize_name(name)}, ...); {_UNPACK} (tar -xf)"


def zip_kind(members: Collection[str]) -> str:
    """Return what a zip archive is that has no torch index."""
    if any(name.endswith("/models/model.json") for name in members):
        return "is a program of torch.export, which vqcheck does not read; name the checkpoint that it was made from"
    inside = [name for name in members if is_checkpoint_name(name)]
    if inside:
        return f"is a zip archive with checkpoints inside; unpack it (unzip) and name one: {listed(inside)}"
    return "a zip archive, but no torch checkpoint (no data.pkl inside)"


def folder_kind(folder: str, names: list[str]) -> str:
    """Return what a folder is in which no checkpoint is found, and what to name instead."""
    inner = [name for name in names if os.path.isdir(os.path.join(folder, name))]
    with_some = [name for name in inner if _has_checkpoint(os.path.join(folder, name))]
    if not names:
        return "is an empty folder"
    if any(name.endswith(DISTRIBUTED_PART) for name in names):
        return "holds parts of a distributed checkpoint without their common index (.metadata); copy that, too"
    if DISTRIBUTED in names:
        return "holds the index of a distributed checkpoint (.metadata) without its parts (*.distcp); copy those, too"
    if "zero_to_fp32.py" in names or any(name.startswith("global_step") for name in inner):
        return "is a DeepSpeed checkpoint; make one file from it (python zero_to_fp32.py . OUT) and name that"
    if "6-name2semantic.tsv" in names or "2-name2text.txt" in names or "4-cnhubert" in inner:
        runs = listed([name for name in inner if name.startswith("logs_s")]) or "logs_s2*"
        return f"is an experiment folder of GPT-SoVITS; name a checkpoint in it ({runs}) or in SoVITS_weights*"
    if "saved_model.pb" in names or any(".data-00000-of-" in name for name in names):
        return "is a TensorFlow checkpoint, which vqcheck does not read"
    if any(SHARD.fullmatch(name) for name in names):
        return "holds shards of a model without their index (*.index.json); download that, too"
    if with_some:
        return f"{_EXPECTED}; these folders in it hold checkpoints: {listed(with_some)}"
    others = sorted({kind for name in names for endings, kind in _BY_NAME if name.lower().endswith(endings)})
    if others:
        return f"holds no checkpoint that vqcheck reads; what it holds {others[0]}"
    if "config.json" in names:
        return "is a model folder without weights (no *.safetensors, *model.bin, *.pth); download those, too"
    return f"{_EXPECTED}; it holds {listed(names)}"


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
