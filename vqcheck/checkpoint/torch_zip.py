"""The index of a torch zip archive (torch 1.6 and later), whatever its root folder and member order."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from vqcheck.checkpoint import pickle_machine
from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.checkpoint.pickle_values import Meaning, PickleError
from vqcheck.checkpoint.saved_object import checkpoint_of
from vqcheck.checkpoint.source import Source
from vqcheck.checkpoint.stored_tensor import Extent
from vqcheck.checkpoint.torch_meaning import TorchMeaning
from vqcheck.checkpoint.torch_records import StorageRecord
from vqcheck.checkpoint.zip_archive import ZipArchive
from vqcheck.language import tr

M = TypeVar("M", bound=Meaning)


def recognises(source: Source) -> bool:
    """Say whether a zip archive holds a torch index, and is no TorchScript archive; a shard is never one."""
    archive = source.archive
    return any(name.endswith("data.pkl") for name in archive.members) and (
        source.is_shard or not archive.ending("constants.pkl")
    )


def open_source(source: Source) -> Checkpoint:
    """Return an open torch zip archive; raises CheckpointError as `read_index`."""
    archive = source.archive
    if source.is_shard and any(
        member.is_packed and name.endswith("data.pkl") for name, member in archive.members.items()
    ):
        # Unpacked, the indexes of many small shards could be of any size; no library packs one.
        raise archive.error(
            tr("its index is compressed, which no shard's is; save the model again without compression")
        )
    index = read_index(archive)
    packed = next((extent.member for extent in index.extents.values() if extent.packed), "")
    if packed and (source.is_shard or source.file.path.endswith(".bin")):
        # transformers maps such files into memory: it gets the packed bytes as they lie there, whatever they unpack to.
        raise archive.error(
            tr(
                "is compressed, and transformers would read it as if it were not; save the model again without "
                "compression"
            ),
            packed,
        )
    return checkpoint_of(
        source.file,
        "torch zip",
        index.root,
        index.extents,
        lambda extent, start, size: archive.read(extent.member, start, size),
        index.meaning,
        header_code=source.header_code,
    )


def read_index(archive: ZipArchive) -> "ZipIndex[TorchMeaning]":
    """Return the index of a torch zip archive, with records for tensors.

    Raises:
        CheckpointError: as `load_index`.

    """
    index = load_index(archive, lambda found: TorchMeaning(found, most_parts=5))
    if archive.find(f"{index.folder}constants.pkl"):
        raise archive.error(
            tr("is a TorchScript archive where a checkpoint is expected; save the model's state_dict()")
        )
    try:
        index.meaning.require_apart()
    except PickleError as error:
        raise archive.error(tr("the pickle {error}", error=str(error)), f"{index.folder}data.pkl") from None
    return index


@dataclass(frozen=True, slots=True)
class ZipIndex(Generic[M]):
    """The index of an archive of torch, of either kind."""

    root: object
    meaning: M
    extents: dict[str, Extent]
    """Storage key -> where it is."""
    folder: str
    """What the names of all members begin with."""


def load_index(archive: ZipArchive, meaning_of: Callable[[Callable[[StorageRecord], None]], M]) -> ZipIndex[M]:
    """Return the unpickled index of an archive, read with the meaning that is made for it.

    Raises:
        CheckpointError: no index, several of them, big-endian storages, or a pickle that is not plain data.

    """
    indexes = [name for name in archive.ending("data.pkl") if name[-9:-8] in ("", "/")]
    if len(indexes) != 1:
        raise archive.error(
            tr("a zip archive, but no torch checkpoint ({number} files named data.pkl inside)", number=len(indexes))
            if indexes
            else tr("a zip archive, but no torch checkpoint (no data.pkl inside)")
        )
    name = indexes[0]
    folder = name[:-8]
    byteorder = archive.find(f"{folder}byteorder")
    if byteorder is not None and archive.read(byteorder.name, 0, min(byteorder.size, 16)) != b"little":
        raise archive.error(tr("only little-endian checkpoints are read"), byteorder.name)
    size = archive.members[name].size
    if size > pickle_machine.MAX_BYTES:
        raise archive.error(
            tr("{size} bytes, more than the {most} that are read", size=size, most=pickle_machine.MAX_BYTES),
            name,
        )
    data = bytes(archive.read(name, 0, size))
    extents: dict[str, Extent] = {}

    def found_storage(record: StorageRecord) -> None:
        storage = f"{folder}data/{record.key}"
        member = archive.members.get(storage)
        if member is not None:
            extents[record.key] = Extent(storage, member.start, member.size, packed=member.is_packed)

    meaning = meaning_of(found_storage)
    try:
        value, _ = pickle_machine.load(data, meaning)
    except PickleError as error:
        raise archive.error(tr("the pickle {error}", error=str(error)), name) from None
    return ZipIndex(value, meaning, extents, folder)
