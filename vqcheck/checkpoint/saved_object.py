"""A checkpoint from an object that was unpickled: its state dicts, and where the bytes of each tensor are."""

from collections.abc import Iterable
from dataclasses import replace

from vqcheck.checkpoint import container
from vqcheck.checkpoint.container import StateDict
from vqcheck.checkpoint.file import PositionedFile
from vqcheck.checkpoint.opened import Checkpoint, ReadExtent
from vqcheck.checkpoint.pickle_values import PickleError
from vqcheck.checkpoint.stored_tensor import ITEM_SIZE, Extent, StoredTensor
from vqcheck.checkpoint.torch_meaning import TorchMeaning
from vqcheck.checkpoint.torch_records import StorageRecord, TensorRecord
from vqcheck.language import tr
from vqcheck.sanitize import sanitize_name


def checkpoint_of(
    file: PositionedFile,
    format_name: str,
    root: object,
    extents: dict[str, Extent],
    read: ReadExtent,
    meaning: TorchMeaning | None = None,
    *,
    header_code: str = "",
    path: str = "",
    files: list[PositionedFile] | None = None,
    stored_bytes: int | None = None,
    missing_files: tuple[str, ...] = (),
) -> Checkpoint:
    """Return an open checkpoint, given what was unpickled (with which meaning) and storage key -> extent.

    Raises:
        CheckpointError: the object holds no state dict, or one that may not be seen whole.

    """
    try:
        state_dicts = container.find_state_dicts(root)
    except PickleError as error:
        raise file.error(str(error)) from None
    if not state_dicts:
        raise file.error(tr("holds no state dict (no mapping of names to tensors); save state_dict()"))
    used = state_dicts[0]
    return Checkpoint(
        files or [file],
        path or file.path,
        format_name,
        _stored_tensors(used, extents),
        read,
        header_code=header_code,
        keys=used.path,
        others={other.path: _stored_tensors(other, extents) for other in state_dicts[1:]},
        root=root,
        classes=meaning.classes() if meaning else (),
        elsewhere=lambda: _elsewhere(root, state_dicts, extents),
        stored_bytes=stored_bytes,
        missing_files=missing_files,
        module_classes=meaning.module_classes() if meaning else (),
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
            key = sanitize_name(storage.key) if storage else ""
            problem = problem or tr("its storage {key} is missing from the archive", key=key)
            extent = Extent("", 0, 0)
        elif width and storage.count * width != extent.size:
            problem = problem or (
                tr("its storage claims {count} elements, more than are stored", count=storage.count)
                if storage.count * width > extent.size
                else tr("its storage claims {count} elements, fewer than are stored", count=storage.count)
            )
        elif storage.view:
            _, first, count = storage.view
            extent = replace(extent, start=extent.start + first * width, size=count * width)
        offset = record.offset * ITEM_SIZE.get(record.dtype, 1)
        tensors[name] = StoredTensor(name, record.dtype, record.shape, record.stride, offset, extent, problem)
    return tensors
