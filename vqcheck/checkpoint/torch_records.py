"""Storages and tensors that a torch pickle describes, as records."""

from collections.abc import Callable
from typing import Final

from vqcheck.checkpoint.pickle_values import Global, PickleError
from vqcheck.checkpoint.stored_tensor import TORCH_STORAGE
from vqcheck.language import tr
from vqcheck.quick_dataclass import quick_dataclass
from vqcheck.sanitize import sanitize_name

_MAX_AXES: Final = 64
LONGEST_NAME: Final = 200
_STORAGE_MODULES: Final = ("torch", "torch.cuda", "torch.storage")


@quick_dataclass(frozen=True, slots=True)
class StorageRecord:
    """A storage a pickle refers to: `count` elements of `dtype` under a key of the archive."""

    dtype: str
    key: str
    count: int
    view: tuple[str, int, int] | None = None
    """In legacy files, the part of it that is meant: its own key, first element, elements."""


@quick_dataclass(frozen=True, slots=True)
class TensorRecord:
    """A tensor a pickle describes; sizes are unchecked claims."""

    dtype: str
    storage: StorageRecord | None
    offset: int
    """Elements between the start of the storage, or of the view of it, and the tensor's first."""
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    problem: str = ""


def storage_record(persistent_id: object, most_parts: int) -> StorageRecord:
    """Return the storage that a torch persistent id names, which has five parts, or six in a legacy file.

    Raises:
        PickleError: it is not a tuple ('storage', type, key, location, count[, view]).

    """
    if not isinstance(persistent_id, tuple) or len(persistent_id) < 5 or persistent_id[0] != "storage":
        raise PickleError(tr("refers to something that is not a torch storage"))
    kind, key, location, count = persistent_id[1:5]
    if not isinstance(kind, Global) or not isinstance(key, str) or not _is_size(count) or type(location) is not str:
        raise PickleError(tr("describes a torch storage with values of the wrong type"))
    if len(kind.name) > LONGEST_NAME or len(key) > LONGEST_NAME:
        raise PickleError(tr("describes a torch storage with a name of unreasonable length"))
    if "\0" in key or kind.module not in _STORAGE_MODULES:
        raise PickleError(tr("describes a torch storage under a name that torch reads differently"))
    if location.startswith("meta"):
        raise PickleError(tr("describes a torch storage without data (on the meta device)"))
    view = persistent_id[5] if len(persistent_id) == 6 else None
    if len(persistent_id) > most_parts or not (view is None or _is_view(view)):
        raise PickleError(tr("describes a view of a torch storage in a way that torch does not write"))
    return StorageRecord(TORCH_STORAGE.get(kind.name, kind.name), key, count, view)


class Storages:
    """The storages that one pickle refers to; `found` is called with each, and with each view of one."""

    def __init__(self, found: Callable[[StorageRecord], None], most_parts: int) -> None:
        self._found = found
        self._most_parts = most_parts
        self._known: dict[str, StorageRecord] = {}

    def refer(self, persistent_id: object) -> StorageRecord:
        """Return the storage that a persistent id names; PickleError as `storage_record`, or where two disagree."""
        record = storage_record(persistent_id, self._most_parts)
        first = self._known.setdefault(record.key, record)
        if first is record or record.view is not None:
            self._found(record)
        if first.dtype != record.dtype:
            raise PickleError(tr("gives storage {key} two element types", key=sanitize_name(record.key)))
        if first.count != record.count:
            raise PickleError(tr("gives storage {key} two sizes", key=sanitize_name(record.key)))
        return record


def _is_view(view: object) -> bool:
    return (
        type(view) is tuple
        and len(view) == 3
        and type(view[0]) is str
        and len(view[0]) <= LONGEST_NAME
        and _is_size(view[1])
        and _is_size(view[2])
    )


def save_again(reason: str) -> str:
    """Return what is wrong with a pickle, and what helps."""
    return tr(
        "{reason}; save it again as a plain state dict (torch.save(model.state_dict(), FILE))",
        reason=reason,
    )


def _is_size(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 62


def sizes(values: object) -> tuple[int, ...]:
    """Return a tensor's sizes or strides.

    Raises:
        PickleError: they are none.

    """
    if not isinstance(values, tuple) or len(values) > _MAX_AXES or not all(map(_is_size, values)):
        raise PickleError(tr("describes a tensor with a negative or overflowing size, stride or offset"))
    return values
