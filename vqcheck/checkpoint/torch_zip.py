"""The index of a torch zip archive (torch 1.6 and later), whatever its root folder and member order."""

from collections.abc import Iterable

from vqcheck.checkpoint import pickle_machine
from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.checkpoint.pickle_values import Meaning, PickleError
from vqcheck.checkpoint.saved_object import checkpoint_of
from vqcheck.checkpoint.source import Source
from vqcheck.checkpoint.stored_tensor import Extent
from vqcheck.checkpoint.torch_meaning import PickledIndex, TorchMeaning
from vqcheck.checkpoint.torch_records import StorageRecord
from vqcheck.checkpoint.zip_archive import ZipArchive
from vqcheck.language import tr


def recognises(source: Source) -> bool:
    """Say whether a zip archive holds a torch index, and is no TorchScript archive; a shard is never one."""
    archive = source.archive
    return any(name.endswith("data.pkl") for name in archive.members) and (
        source.is_shard or not archive.ending("constants.pkl")
    )


def open_source(source: Source) -> Checkpoint:
    """Return an open torch zip archive.

    Raises:
        CheckpointError: no index, several of them, big-endian storages, or a pickle that is not plain data.

    """
    archive = source.archive
    if source.is_shard and any(
        member.is_packed and name.endswith("data.pkl") for name, member in archive.members.items()
    ):
        # Unpacked, the indexes of many small shards could be of any size; no library packs one.
        raise archive.error(
            tr("its index is compressed, which no shard's is; save the model again without compression")
        )
    folder = folder_of(archive)
    if archive.find(f"{folder}constants.pkl"):
        raise archive.error(
            tr("is a TorchScript archive where a checkpoint is expected; save the model's state_dict()")
        )
    index = _index(archive, folder, source.known)
    extents = extents_in(archive, folder, index.storages)
    packed = next((extent.member for extent in extents.values() if extent.packed), "")
    if packed and (source.is_shard or source.file.path.endswith(".bin")):
        # transformers maps such files into memory: it gets the packed bytes as they lie there, whatever they unpack to.
        raise archive.error(
            tr(
                "is compressed, and transformers would read it as if it were not; save the model again without "
                "compression"
            ),
            packed,
        )
    opened = checkpoint_of(
        source.file,
        "torch zip",
        index.root,
        extents,
        lambda extent, start, size: archive.read(extent.member, start, size),
        index.meaning,
        header_code=source.header_code,
    )
    if not opened.module_classes:  # such files are read each for itself
        opened.index = index
    return opened


def _index(archive: ZipArchive, folder: str, known: PickledIndex | None) -> PickledIndex:
    """Return the index of an archive: the known one, of another archive, where the bytes of both are the same.

    Everything else that torch reads, the directory and the byte order, is this archive's own.
    """
    pickled = pickled_in(archive, folder)
    if known is not None and known.pickled == pickled:
        return known
    storages: list[StorageRecord] = []
    meaning = TorchMeaning(storages.append, most_parts=5)
    root = unpickled(archive, folder, pickled, meaning)
    try:
        meaning.require_apart()
    except PickleError as error:
        raise archive.error(tr("the pickle {error}", error=str(error)), f"{folder}data.pkl") from None
    return PickledIndex(pickled, root, tuple(storages), meaning)


def folder_of(archive: ZipArchive) -> str:
    """Return what the names of all members of an archive of torch, of either kind, begin with.

    Raises:
        CheckpointError: no index, or several of them.

    """
    indexes = [name for name in archive.ending("data.pkl") if name[-9:-8] in ("", "/")]
    if len(indexes) != 1:
        raise archive.error(
            tr("a zip archive, but no torch checkpoint ({number} files named data.pkl inside)", number=len(indexes))
            if indexes
            else tr("a zip archive, but no torch checkpoint (no data.pkl inside)")
        )
    return indexes[0][:-8]


def pickled_in(archive: ZipArchive, folder: str) -> bytes:
    """Return the pickle of an archive's index.

    Raises:
        CheckpointError: big-endian storages, or more bytes than are read.

    """
    byteorder = archive.find(f"{folder}byteorder")
    if byteorder is not None and archive.read(byteorder.name, 0, min(byteorder.size, 16)) != b"little":
        raise archive.error(tr("only little-endian checkpoints are read"), byteorder.name)
    name = f"{folder}data.pkl"
    size = archive.members[name].size
    if size > pickle_machine.MAX_BYTES:
        raise archive.error(
            tr("{size} bytes, more than the {most} that are read", size=size, most=pickle_machine.MAX_BYTES), name
        )
    return bytes(archive.read(name, 0, size))


def unpickled(archive: ZipArchive, folder: str, pickled: bytes, meaning: Meaning) -> object:
    """Return the root of an archive's index; raises CheckpointError for a pickle that is not plain data."""
    try:
        root, _ = pickle_machine.load(pickled, meaning)
    except PickleError as error:
        raise archive.error(tr("the pickle {error}", error=str(error)), f"{folder}data.pkl") from None
    return root


def extents_in(archive: ZipArchive, folder: str, storages: Iterable[StorageRecord]) -> dict[str, Extent]:
    """Return storage key -> where it is, for the storages that the archive has."""
    extents: dict[str, Extent] = {}
    for record in storages:
        name = f"{folder}data/{record.key}"
        member = archive.members.get(name)
        if member is not None:
            extents[record.key] = Extent(name, member.start, member.size, packed=member.is_packed)
    return extents
