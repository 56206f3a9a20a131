"""The index of a legacy torch file (before torch 1.6): five pickles, then the storages one after the other.

pickle  magic number 0x1950a86a20f9469cfc6c
pickle  protocol version 1001
pickle  system information (byte order)
pickle  the saved object, its storages as persistent ids
pickle  list of storage keys
then for each key: int64 element count, that many elements
"""

from collections.abc import Callable
from typing import Final

from vqcheck.checkpoint import pickle_machine, torch_records
from vqcheck.checkpoint.dtypes import ITEM_SIZE, REFUSED_ITEM_SIZE
from vqcheck.checkpoint.file import PositionedFile
from vqcheck.checkpoint.pickle_stack import PersistentLoad
from vqcheck.checkpoint.pickle_values import PickleError, TruncatedPickleError
from vqcheck.checkpoint.shown import shown
from vqcheck.checkpoint.tensor import Extent
from vqcheck.checkpoint.torch_records import StorageRecord
from vqcheck.errors import CheckpointError

MAGIC: Final = 0x1950A86A20F9469CFC6C
_PROTOCOL: Final = 1001
_MAGIC_WINDOW: Final = 100
_FIRST_WINDOW: Final = 1 << 20
_SHORT: Final = 1_000
"""Most opcodes of the first three pickles, which hold a handful of numbers."""

_Pickles = tuple[object, list[object], int]
"""The saved object, the storage keys, and the position behind the last pickle."""


def read_index(file: PositionedFile) -> tuple[object, dict[str, Extent]]:
    """Return (unpickled root with records for tensors, storage key -> extent) of a legacy torch file.

    Raises:
        CheckpointError: not such a file, a pickle that is not plain data, or storages outside the file.

    """
    _check_magic(file)
    storages: dict[str, StorageRecord] = {}

    def persistent_load(persistent_id: object) -> object:
        if isinstance(persistent_id, tuple) and len(persistent_id) > 1 and persistent_id[0] == "module":
            # The class of a module that was saved whole, with its source; it stays a name.
            return persistent_id[1]
        record = torch_records.storage_record(persistent_id)
        if storages.setdefault(record.key, record).dtype != record.dtype:
            raise PickleError(f"gives storage {shown(record.key)} two element types")
        return record

    root, keys, position = _with_growing_window(file, lambda window: _read_pickles(window, persistent_load))
    return root, _locate(file, storages, keys, position)


def _check_magic(file: PositionedFile) -> None:
    """Refuse what is no torch file before anything else in it is looked at; it may be of any kind."""
    try:
        magic, _ = pickle_machine.load(file.read(0, min(file.size, _MAGIC_WINDOW), "pickle"), max_steps=_SHORT)
    except PickleError:
        magic = None
    if magic != MAGIC:
        raise CheckpointError(f"{file.label}: is no checkpoint (neither torch nor safetensors)")


def _with_growing_window(file: PositionedFile, read: Callable[[bytes], _Pickles]) -> _Pickles:
    """Return what `read` makes of the beginning of the file, as much of it as its pickles need."""
    size = min(file.size, _FIRST_WINDOW)
    while True:
        try:
            return read(bytes(file.read(0, size, "pickle")))
        except TruncatedPickleError as error:
            if size == min(file.size, pickle_machine.MAX_BYTES):
                raise CheckpointError(f"{file.label}: the pickle {error} (truncated?)") from None
            size = min(size * 8, file.size, pickle_machine.MAX_BYTES)
        except PickleError as error:
            raise CheckpointError(f"{file.label}: the pickle {error}") from None


def _read_pickles(window: bytes, persistent_load: PersistentLoad) -> _Pickles:
    _, at = pickle_machine.load(window, max_steps=_SHORT)
    protocol, at = pickle_machine.load(window, start=at, max_steps=_SHORT)
    system, at = pickle_machine.load(window, start=at, max_steps=_SHORT)
    if protocol != _PROTOCOL or not isinstance(system, dict):
        raise PickleError("is a torch checkpoint of an unknown protocol")
    if system.get("little_endian") is not True:
        raise PickleError("was written on a big-endian machine, which vqcheck does not read")
    root, at = pickle_machine.load(window, reduce=torch_records.reduce, persistent_load=persistent_load, start=at)
    keys, at = pickle_machine.load(window, start=at)
    if not isinstance(keys, list):
        raise PickleError("has no list of storages")
    return root, keys, at


def _locate(
    file: PositionedFile, storages: dict[str, StorageRecord], keys: list[object], position: int
) -> dict[str, Extent]:
    extents: dict[str, Extent] = {}
    for key in keys:
        record = storages.get(key) if isinstance(key, str) else None
        if record is None or record.key in extents:
            name = shown(key) if isinstance(key, str) else "without a name"
            raise CheckpointError(f"{file.label}: storage {name}: is listed twice or used by no tensor")
        name = f"storage {shown(record.key)}"
        width = ITEM_SIZE.get(record.dtype) or REFUSED_ITEM_SIZE.get(record.dtype)
        if width is None:
            raise CheckpointError(f"{file.label}: {name}: element type {shown(record.dtype)} is not supported")
        count = int.from_bytes(file.read(position, 8, name), "little", signed=True)
        size = count * width
        if count < 0 or position + 8 + size > file.size:
            raise CheckpointError(f"{file.label}: {name}: {count} elements lie outside the file (truncated?)")
        extents[record.key] = Extent(name, position + 8, size)
        position += 8 + size
    return extents
