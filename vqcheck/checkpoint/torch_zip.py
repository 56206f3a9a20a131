"""The index of a torch zip archive (torch 1.6 and later), whatever its root folder and member order."""

from vqcheck.checkpoint import pickle_machine
from vqcheck.checkpoint.pickle_values import PickleError
from vqcheck.checkpoint.stored_tensor import Extent
from vqcheck.checkpoint.torch_meaning import TorchMeaning
from vqcheck.checkpoint.torch_records import StorageRecord
from vqcheck.checkpoint.zip_archive import ZipArchive
from vqcheck.quick_dataclass import quick_dataclass


@quick_dataclass(frozen=True, slots=True)
class PickledIndex:
    """What the pickle of an index comes to. It follows from its bytes alone."""

    pickled: bytes
    root: object
    """With records for tensors"""
    storages: tuple[StorageRecord, ...]
    """Every storage that it refers to"""
    classes: tuple[str, ...]
    """Unknown ones, by name"""


def read_index(archive: ZipArchive, known: PickledIndex | None = None) -> tuple[PickledIndex, dict[str, Extent]]:
    """Return (index, storage key -> extent) of a torch zip archive.

    `known` is the index of another archive, which is taken where this one's has the same bytes. Everything else that
    torch reads, the directory and the byte order, is this archive's own.

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
    if known is None or known.pickled != data:
        try:
            known = _unpickled(data)
        except PickleError as error:
            raise archive.error(f"the pickle {error}", index) from None
    extents: dict[str, Extent] = {}
    for record in known.storages:
        name = f"{root}data/{record.key}"
        member = archive.members.get(name)
        if member is not None:
            extents[record.key] = Extent(name, member.start, member.size, packed=member.is_packed)
    return known, extents


def _unpickled(data: bytes) -> PickledIndex:
    storages: list[StorageRecord] = []
    meaning = TorchMeaning(storages.append, most_parts=5)
    root, _ = pickle_machine.load(data, meaning)
    meaning.require_apart()
    return PickledIndex(data, root, tuple(storages), meaning.classes())
