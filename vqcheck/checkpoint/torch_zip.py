"""The index of a torch zip archive (torch 1.6 and later), whatever its root folder and member order."""

from vqcheck.checkpoint import pickle_machine
from vqcheck.checkpoint.formats import Source
from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.checkpoint.pickle_values import PickleError
from vqcheck.checkpoint.saved_object import checkpoint_of
from vqcheck.checkpoint.stored_tensor import Extent
from vqcheck.checkpoint.torch_meaning import TorchMeaning
from vqcheck.checkpoint.torch_records import StorageRecord
from vqcheck.checkpoint.zip_archive import ZipArchive


def recognises(source: Source) -> bool:
    """Say whether a zip archive holds a torch index."""
    return any(name.endswith("data.pkl") for name in source.archive.members)


def open_source(source: Source) -> Checkpoint:
    """Return an open torch zip archive; raises CheckpointError as `read_index`."""
    archive = source.archive
    if source.is_shard and any(
        member.is_packed and name.endswith("data.pkl") for name, member in archive.members.items()
    ):
        # Unpacked, the indexes of many small shards could be of any size; no library packs one.
        raise archive.error("its index is compressed, which no shard's is; save the model again without compression")
    root, extents, classes = read_index(archive)
    packed = next((extent.member for extent in extents.values() if extent.packed), "")
    if packed and (source.is_shard or source.file.path.endswith(".bin")):
        # transformers maps such files into memory: it gets the packed bytes as they lie there, whatever they unpack to.
        raise archive.error(
            "is compressed, and transformers would read it as if it were not; save the model again without compression",
            packed,
        )
    return checkpoint_of(
        source.file,
        "torch zip",
        root,
        extents,
        classes,
        lambda extent, start, size: archive.read(extent.member, start, size),
        header_code=source.header_code,
    )


def read_index(archive: ZipArchive) -> tuple[object, dict[str, Extent], tuple[str, ...]]:
    """Return (unpickled root with records for tensors, storage key -> extent, unknown classes) of a torch zip archive.

    Raises:
        CheckpointError: no index, several of them, big-endian storages, or a pickle that is not plain data.

    """
    indexes = [name for name in archive.ending("data.pkl") if name[-9:-8] in ("", "/")]
    if len(indexes) != 1:
        found = "no data.pkl" if not indexes else f"{len(indexes)} files named data.pkl"
        raise archive.error(f"a zip archive, but no torch checkpoint ({found} inside)")
    index = indexes[0]
    root = index[:-8]
    if archive.find(f"{root}constants.pkl"):
        raise archive.error("is a TorchScript archive; save the model's state_dict() instead")
    byteorder = archive.find(f"{root}byteorder")
    if byteorder is not None and archive.read(byteorder.name, 0, min(byteorder.size, 16)) != b"little":
        raise archive.error("only little-endian checkpoints are read", byteorder.name)
    size = archive.members[index].size
    if size > pickle_machine.MAX_BYTES:
        raise archive.error(f"{size} bytes, more than the {pickle_machine.MAX_BYTES} that are read", index)
    data = bytes(archive.read(index, 0, size))
    extents: dict[str, Extent] = {}

    def found_storage(record: StorageRecord) -> None:
        name = f"{root}data/{record.key}"
        member = archive.members.get(name)
        if member is not None:
            extents[record.key] = Extent(name, member.start, member.size, packed=member.is_packed)

    meaning = TorchMeaning(found_storage, most_parts=5)
    try:
        value, _ = pickle_machine.load(data, meaning)
        meaning.require_apart()
    except PickleError as error:
        raise archive.error(f"the pickle {error}", index) from None
    return value, extents, meaning.classes()
