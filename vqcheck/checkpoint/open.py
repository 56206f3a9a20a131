"""Opens a checkpoint of any supported format: recognises it by content and builds the index of its tensors."""

import gc
import os

from vqcheck.checkpoint.checkpoint_names import listed
from vqcheck.checkpoint.formats import open_path
from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.checkpoint.remote.address import is_address
from vqcheck.errors import CheckpointError
from vqcheck.language import tr


def open_checkpoint(path: str | os.PathLike[str], beside: Checkpoint | None = None) -> Checkpoint:
    """Open a checkpoint by its content, never by its name.

    Reads torch files of every age (also with GPT-SoVITS's overwritten first two bytes), safetensors files, indexes of
    sharded and of distributed checkpoints, TorchScript archives and numpy files; of a folder, the one checkpoint in it.
    Of a remote file (`hf://OWNER/REPO/FILE`, `https://HOST/FILE`) the parts that are needed come over the network.
    Nothing in the file is imported or executed. `beside` is an open checkpoint that this one is compared with: where
    the pickles of their indexes have the same bytes, it is read once.

    Raises:
        CheckpointError: the file cannot be read, or not safely, or code of its own would decide what is loaded from it.

    """
    checkpoint = open_as_stored(path, beside)
    if checkpoint.module_classes:
        checkpoint.close()
        classes = listed(list(checkpoint.module_classes))
        raise CheckpointError(
            tr(
                "is a module that was saved whole: loading it runs code of {classes}, which decides "
                "the values; save its state_dict() ('vqcheck diff' and 'inspect' show what is stored)",
                classes=classes,
            ),
            path,
        )
    return checkpoint


def open_as_stored(path: str | os.PathLike[str], beside: Checkpoint | None = None) -> Checkpoint:
    """Open a checkpoint as `open_checkpoint` does, also where code of its own decides what is loaded from it.

    Such code is not run: `module_classes` names it, and what is read is what is stored.
    """
    if os.path.isdir(path) and not is_address(path):
        from vqcheck.checkpoint.model_folder import only_checkpoint_in

        path = only_checkpoint_in(os.fsdecode(path))
    collects = gc.isenabled()
    # An index is many small objects and no garbage; looking through them again and again grows faster than the file.
    gc.disable()
    try:
        return open_path(path, known=beside.index if beside else None)
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
