"""Opens a checkpoint of any supported format: recognises it by content and builds the index of its tensors."""

import gc
import os

from vqcheck.checkpoint.formats import open_path
from vqcheck.checkpoint.opened import Checkpoint


def open_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Open a checkpoint by its content, never by its name.

    Reads torch zip archives (also with GPT-SoVITS's overwritten first two bytes), legacy torch files, safetensors
    files, and the JSON index of a sharded checkpoint; of a folder, the one checkpoint in it. Nothing in the file is
    imported or executed.

    Raises:
        CheckpointError: the file cannot be read, or not safely.

    """
    if os.path.isdir(path):
        from vqcheck.checkpoint.model_folder import only_checkpoint_in

        path = only_checkpoint_in(os.fsdecode(path))
    collects = gc.isenabled()
    # An index is many small objects and no garbage; looking through them again and again grows faster than the file.
    gc.disable()
    try:
        return open_path(path)
    finally:
        if collects:
            gc.enable()


def begins_as_checkpoint(head: bytes) -> bool:
    """Say whether the first kilobytes of a file are those of a checkpoint, whole or damaged, or of an index of one."""
    from vqcheck.checkpoint import not_a_checkpoint, safetensors_header

    return (
        head[2:4] == b"\x03\x04"
        or safetensors_header.looks_like(head)
        or (head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5"))
        or (head.lstrip(b"\xef\xbb\xbf")[:1] == b"{" and b'"weight_map"' in head)
        or not_a_checkpoint.is_other_model(head)
    )
