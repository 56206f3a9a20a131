"""The index of a legacy torch file (before torch 1.6): five pickles, then the storages one after the other.

pickle  magic number 0x1950a86a20f9469cfc6c
pickle  protocol version 1001
pickle  system information (byte order)
pickle  the saved object, its storages as persistent ids
pickle  list of storage keys
then for each key: int64 element count, that many elements
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from vqcheck.checkpoint import pickle_machine
from vqcheck.checkpoint.file import PositionedFile
from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.checkpoint.pickle_values import PickleError, PlainData, TruncatedPickleError
from vqcheck.checkpoint.saved_object import checkpoint_of
from vqcheck.checkpoint.source import Source
from vqcheck.checkpoint.stored_tensor import ITEM_SIZE, REFUSED_ITEM_SIZE, Extent, unsupported
from vqcheck.checkpoint.torch_meaning import TorchMeaning
from vqcheck.checkpoint.torch_records import StorageRecord
from vqcheck.errors import CheckpointError
from vqcheck.language import tr
from vqcheck.sanitize import sanitize_name

MAGIC: Final = 0x1950A86A20F9469CFC6C
_PROTOCOL: Final = 1001
_MAGIC_WINDOW: Final = 100
_FIRST_TENSOR: Final = 4096
"""Bytes in which a pickle of tensors names the function by which it makes the first one."""
_FIRST_WINDOW: Final = 1 << 20
_SHORT: Final = 1_000
"""Most opcodes of the first three pickles, which hold a handful of numbers."""


@dataclass(frozen=True, slots=True)
class _Pickles:
    root: object
    storages: dict[str, StorageRecord]
    keys: list[object]
    end: int
    """Position behind the last pickle."""
    meaning: TorchMeaning


def recognises(source: Source) -> bool:
    """Say that a file may be a legacy torch file: it is what torch takes everything for that it knows no better."""
    del source
    return True


def open_source(source: Source) -> Checkpoint:
    """Return an open legacy torch file; raises CheckpointError as `read_index`, or says what the file is instead."""
    from vqcheck.checkpoint import not_a_checkpoint

    file, head = source.file, source.head
    archive = not_a_checkpoint.tar_kind(head)
    if archive:
        # torch looks for one first: what is behind may be a legacy file as well.
        raise file.error(archive)
    try:
        root, extents, meaning = read_index(file)
    except CheckpointError:
        kind = (
            ""
            if head.startswith((b"\x80", not_a_checkpoint.MAGIC_AS_TEXT))
            else not_a_checkpoint.file_kind(file.path, head)
        )
        if not kind:
            raise
        raise file.error(kind) from None
    return checkpoint_of(file, "torch legacy", root, extents, file.read_extent, meaning)


def read_index(file: PositionedFile) -> tuple[object, dict[str, Extent], TorchMeaning]:
    """Return (unpickled root with records for tensors, storage key -> extent, its meaning) of a legacy torch file.

    Raises:
        CheckpointError: not such a file, a pickle that is not plain data, or storages outside the file.

    """
    _check_magic(file)
    pickles = _with_growing_window(file, _read_pickles)
    return pickles.root, _locate(file, pickles), pickles.meaning


def has_magic(file: PositionedFile) -> bool:
    """Say whether a file begins with the pickle that begins a legacy torch file, however long torch would look."""
    for size in (_MAGIC_WINDOW, pickle_machine.MAX_BYTES):
        window = file.read(0, min(file.size, size), "pickle")
        try:
            return bool(pickle_machine.load(window, PlainData(), max_steps=_SHORT)[0] == MAGIC)
        except TruncatedPickleError:
            continue
        except PickleError:
            return False
    return False


def _check_magic(file: PositionedFile) -> None:
    """Refuse what is not a torch file before anything else in it is looked at; it may be of any kind."""
    if not has_magic(file):
        if b"_load_from_bytes" in file.read(0, min(file.size, _FIRST_TENSOR), "pickle"):
            raise file.error(
                tr("is a pickle with torch's tensors in it, which torch.load does not read; use torch.save")
            )
        raise file.error(tr("is not a checkpoint (neither torch nor safetensors)"))


def _with_growing_window(file: PositionedFile, read: Callable[[bytes], _Pickles]) -> _Pickles:
    """Return what `read` makes of the beginning of the file, as much of it as its pickles need."""
    size = min(file.size, _FIRST_WINDOW)
    while True:
        try:
            return read(bytes(file.read(0, size, "pickle")))
        except TruncatedPickleError as error:
            if size == min(file.size, pickle_machine.MAX_BYTES):
                raise file.error(tr("the pickle {error} (truncated?)", error=str(error))) from None
            size = min(size * 8, file.size, pickle_machine.MAX_BYTES)
        except PickleError as error:
            raise file.error(tr("the pickle {error}", error=str(error))) from None


def _read_pickles(window: bytes) -> _Pickles:
    plain = PlainData()
    _, at = pickle_machine.load(window, plain, max_steps=_SHORT)
    protocol, at = pickle_machine.load(window, plain, start=at, max_steps=_SHORT)
    system, at = pickle_machine.load(window, plain, start=at, max_steps=_SHORT)
    if protocol != _PROTOCOL or not isinstance(system, dict):
        raise PickleError(tr("is a torch checkpoint of an unknown protocol"))
    if system.get("little_endian") is not True:
        raise PickleError(tr("was written on a big-endian machine, which vqcheck does not read"))
    storages: dict[str, StorageRecord] = {}
    views: dict[str, StorageRecord] = {}

    def found(record: StorageRecord) -> None:
        storages.setdefault(record.key, record)
        if record.view is not None and views.setdefault(record.view[0], record) != record:
            raise PickleError(tr("gives view {key} two places", key=sanitize_name(record.view[0])))

    meaning = TorchMeaning(found, most_parts=6)
    root, at = pickle_machine.load(window, meaning, start=at)
    meaning.require_apart()
    keys, at = pickle_machine.load(window, plain, start=at)
    if not isinstance(keys, list):
        raise PickleError(tr("has no list of storages"))
    for key, record in views.items():
        if key in storages:
            raise PickleError(tr("gives a storage and a view of one the same key {key}", key=sanitize_name(key)))
        if record.view is not None and record.view[1] + record.view[2] > record.count:
            raise PickleError(tr("describes view {key} outside its storage", key=sanitize_name(key)))
    return _Pickles(root, storages, keys, at, meaning)


def _locate(file: PositionedFile, pickles: _Pickles) -> dict[str, Extent]:
    extents: dict[str, Extent] = {}
    position = pickles.end
    for key in pickles.keys:
        record = pickles.storages.get(key) if isinstance(key, str) else None
        if record is None or record.key in extents:
            name = f"storage {key}" if isinstance(key, str) else tr("storage without a name")
            raise file.error(tr("is listed twice or used by no tensor"), name)
        name = f"storage {record.key}"
        width = ITEM_SIZE.get(record.dtype) or REFUSED_ITEM_SIZE.get(record.dtype)
        if width is None:
            raise file.error(unsupported(record.dtype), name)
        count = int.from_bytes(file.read(position, 8, name), "little", signed=True)
        size = count * width
        if count < 0 or position + 8 + size > file.size:
            raise file.error(tr("{count} elements lie outside the file (truncated?)", count=count), name)
        extents[record.key] = Extent(name, position + 8, size)
        position += 8 + size
    return extents
