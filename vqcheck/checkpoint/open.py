"""Opens a checkpoint of any supported format: recognises it by content and builds the index of its tensors."""

import gc
import os
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from vqcheck.checkpoint import container
from vqcheck.checkpoint.container import StateDict
from vqcheck.checkpoint.file import PositionedFile
from vqcheck.checkpoint.opened import Checkpoint, ReadExtent
from vqcheck.checkpoint.pickle_values import PickleError
from vqcheck.checkpoint.stored_tensor import ITEM_SIZE, Extent, StoredTensor
from vqcheck.checkpoint.torch_records import StorageRecord, TensorRecord
from vqcheck.errors import CheckpointError
from vqcheck.sanitize import sanitize_name

if TYPE_CHECKING:
    from vqcheck.checkpoint.torch_zip import PickledIndex


def open_checkpoint(path: str | os.PathLike[str], beside: Checkpoint | None = None) -> Checkpoint:
    """Open a checkpoint by its content, never by its name.

    Reads torch zip archives (also with GPT-SoVITS's overwritten first two bytes), legacy torch files, safetensors
    files, and the JSON index of a sharded checkpoint; of a folder, the one checkpoint in it. Nothing in the file is
    imported or executed. `beside` is an open checkpoint that this one is compared with: where the pickles of their
    indexes have the same bytes, it is read once.

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
        return _open_file(path, shard=False, known=beside.index if beside else None)
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


def _open_file(path: str | os.PathLike[str], *, shard: bool, known: "PickledIndex | None" = None) -> Checkpoint:
    file = _positioned(path)
    try:
        return _open(file, shard=shard, known=known)
    except MemoryError:
        file.close()
        raise file.error("not enough memory to read its index") from None
    except CheckpointError as error:
        file.close()
        from vqcheck.checkpoint.not_a_checkpoint import unfinished

        hint = unfinished(file.path)
        if not hint or hint in error.reason:
            raise
        raise CheckpointError(f"{error.reason}; the file {hint}", error.path, error.member) from None
    except BaseException:
        file.close()
        raise


def _positioned(path: str | os.PathLike[str]) -> PositionedFile:
    try:
        return PositionedFile(path)
    except CheckpointError:
        from vqcheck.checkpoint.not_a_checkpoint import path_kind

        kind = path_kind(os.fsdecode(path))
        if not kind:
            raise
        raise CheckpointError(kind, os.fsdecode(path)) from None


def _open(file: PositionedFile, *, shard: bool, known: "PickledIndex | None") -> Checkpoint:
    if not file.size:
        raise file.error("is empty; save or download it again")
    if os.path.exists(f"{file.path}.aria2"):
        from vqcheck.checkpoint.not_a_checkpoint import unfinished

        raise file.error(unfinished(file.path))
    head = bytes(file.read(0, min(file.size, 512), "beginning of the file"))
    if head[2:4] == b"\x03\x04" and (head[:2] == b"PK" or head[:2].isdigit()):
        if head[6:8] == b"\0\0" and head[8:9] in (b"{", b" ", b"\t", b"\r", b"\n"):
            raise file.error("begins as an archive and as a safetensors file; save it again as one")
        return _open_torch_zip(file, "" if head[:2] == b"PK" else head[:2].decode(), shard=shard, known=known)
    from vqcheck.checkpoint import safetensors_header

    # Asked before JSON: the length in front of a header may begin with the byte of a brace.
    if safetensors_header.looks_like(head):
        if not file.path.endswith(".safetensors"):
            _refuse_torch_file(file, head)
        tensors, metadata = safetensors_header.read_header(file)
        if not shard:
            tensors = safetensors_header.with_aliases(tensors, metadata)
        read = _direct_reader(file)
        return Checkpoint([file], file.path, "safetensors", tensors, read, root=dict(metadata))
    if head[:1] == b"{" or head[:4] == b"\xef\xbb\xbf{":
        if shard:
            # Followed, it could lead back to itself.
            raise file.error("is the index of a sharded checkpoint, where a shard is expected")
        return _open_sharded(file)
    return _open_torch_legacy(file, head)


def _open_torch_zip(file: PositionedFile, header_code: str, *, shard: bool, known: "PickledIndex | None") -> Checkpoint:
    from vqcheck.checkpoint import torch_zip
    from vqcheck.checkpoint.zip_archive import ZipArchive

    archive = ZipArchive(file)
    if not any(name.endswith("data.pkl") for name in archive.members):
        from vqcheck.checkpoint.not_a_checkpoint import zip_kind

        raise file.error(zip_kind(archive.members))
    if shard and any(member.is_packed and name.endswith("data.pkl") for name, member in archive.members.items()):
        # Unpacked, the indexes of many small shards could be of any size; no library packs one.
        raise file.error("its index is compressed, which no shard's is; save the model again without compression")
    index, extents = torch_zip.read_index(archive, known)
    packed = next((extent.member for extent in extents.values() if extent.packed), "")
    if packed and (shard or file.path.endswith(".bin")):
        # transformers maps such files into memory: it gets the packed bytes as they lie there, whatever they unpack to.
        raise file.error(
            "is compressed, and transformers would read it as if it were not; save the model again without compression",
            packed,
        )
    opened = _from_torch(
        file,
        "torch zip",
        index.root,
        extents,
        index.classes,
        lambda extent, start, size: archive.read(extent.member, start, size),
        header_code,
    )
    opened.index = index
    return opened


def _refuse_torch_file(file: PositionedFile, head: bytes) -> None:
    """Raise CheckpointError when a safetensors file that is not named so is one for torch, too."""
    from vqcheck.checkpoint import not_a_checkpoint, torch_legacy

    if torch_legacy.has_magic(file) or not_a_checkpoint.tar_kind(head):
        raise file.error("begins as a torch file and as a safetensors file; save it again as one")


def _open_torch_legacy(file: PositionedFile, head: bytes) -> Checkpoint:
    from vqcheck.checkpoint import not_a_checkpoint, torch_legacy

    archive = not_a_checkpoint.tar_kind(head)
    if archive:
        # torch looks for one first: what is behind may be a legacy file as well.
        raise file.error(archive)
    try:
        root, extents, classes = torch_legacy.read_index(file)
    except CheckpointError:
        kind = (
            ""
            if head.startswith((b"\x80", not_a_checkpoint.MAGIC_AS_TEXT))
            else not_a_checkpoint.file_kind(file.path, head)
        )
        if not kind:
            raise
        raise file.error(kind) from None
    return _from_torch(file, "torch legacy", root, extents, classes, _direct_reader(file), "")


def _direct_reader(file: PositionedFile) -> ReadExtent:
    return lambda extent, start, size: file.read(extent.start + start, size, extent.member)


def _from_torch(
    file: PositionedFile,
    format_name: str,
    root: object,
    extents: dict[str, Extent],
    classes: tuple[str, ...],
    read: ReadExtent,
    header_code: str,
) -> Checkpoint:
    try:
        state_dicts = container.find_state_dicts(root)
    except PickleError as error:
        raise file.error(str(error)) from None
    if not state_dicts:
        raise file.error("holds no state dict (no mapping of names to tensors); save state_dict()")
    used = state_dicts[0]
    return Checkpoint(
        [file],
        file.path,
        format_name,
        _stored_tensors(used, extents),
        read,
        header_code=header_code,
        keys=used.path,
        others={other.path: _stored_tensors(other, extents) for other in state_dicts[1:]},
        root=root,
        classes=classes,
        elsewhere=lambda: _elsewhere(root, state_dicts, extents),
    )


def _elsewhere(root: object, state_dicts: list[StateDict], extents: dict[str, Extent]) -> Iterable[StoredTensor]:
    """Return what is referred to beside the state dicts; a storage counts as one tensor of all its bytes."""
    records = container.references_elsewhere(root, state_dicts)
    whole = [
        TensorRecord(each.dtype, each, 0, (each.count,), (1,)) if isinstance(each, StorageRecord) else each
        for each in records
    ]
    return _stored_tensors(StateDict((), {str(number): each for number, each in enumerate(whole)}), extents).values()


def _stored_tensors(state_dict: StateDict, extents: dict[str, Extent]) -> dict[str, StoredTensor]:
    tensors: dict[str, StoredTensor] = {}
    for name, record in state_dict.tensors.items():
        storage = record.storage
        extent = extents.get(storage.key) if storage else None
        problem = record.problem
        width = ITEM_SIZE.get(storage.dtype, 0) if storage else 0
        if storage is None or extent is None:
            problem = (
                problem or f"its storage {sanitize_name(storage.key) if storage else ''} is missing from the archive"
            )
            extent = Extent("", 0, 0)
        elif width and storage.count * width != extent.size:
            than = "more" if storage.count * width > extent.size else "fewer"
            problem = problem or f"its storage claims {storage.count} elements, {than} than are stored"
        elif storage.view:
            _, first, count = storage.view
            extent = replace(extent, start=extent.start + first * width, size=count * width)
        offset = record.offset * ITEM_SIZE.get(record.dtype, 1)
        tensors[name] = StoredTensor(name, record.dtype, record.shape, record.stride, offset, extent, problem)
    return tensors


def _open_sharded(index: PositionedFile) -> Checkpoint:
    from vqcheck.checkpoint import model_folder

    shard_of = model_folder.shard_of_each_tensor(index)
    opened: dict[str, Checkpoint] = {}
    try:
        for shard in dict.fromkeys(shard_of.values()):
            opened[shard] = _open_file(model_folder.shard_path(index, shard), shard=True)
            model_folder.check_shards(index, shard_of, opened)
        tensors = {name: _in_shard(index, name, shard, opened[shard]) for name, shard in shard_of.items()}
    except BaseException:
        for each in opened.values():
            each.close()
        raise
    return Checkpoint(
        [index, *(file for each in opened.values() for file in each.files)],
        index.path,
        "sharded",
        tensors,
        lambda extent, start, size: opened[extent.shard].read_extent(extent, start, size),
        classes=tuple(sorted({name for each in opened.values() for name in each.classes})),
    )


def _in_shard(index: PositionedFile, name: str, shard: str, opened: Checkpoint) -> StoredTensor:
    tensor = opened.tensors.get(name)
    if tensor is None:
        raise index.error(f"is not in {sanitize_name(shard)}, where the index says it is", name)
    return replace(tensor, extent=replace(tensor.extent, shard=shard))
