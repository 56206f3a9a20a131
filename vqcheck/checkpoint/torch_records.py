"""What torch's own globals mean inside a pickle: tensors and storages as records, everything else inert."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from vqcheck.checkpoint.dtypes import TORCH_STORAGE
from vqcheck.checkpoint.pickle_values import Global, PickleError, inert, scalar_key

_MAX_AXES: Final = 64
_MAX_ARGUMENTS: Final = 64
_LONGEST_NAME: Final = 200


@dataclass(frozen=True, slots=True)
class StorageRecord:
    """A storage a pickle refers to: `count` elements of `dtype` under a key of the archive."""

    dtype: str
    key: str
    count: int
    view_offset: int = 0
    """Elements between the start of the stored block and this view of it (legacy files only)."""


@dataclass(frozen=True, slots=True)
class TensorRecord:
    """A tensor a pickle describes; sizes are unchecked claims."""

    dtype: str
    storage: StorageRecord | None
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    problem: str = ""


def storage_record(persistent_id: object) -> StorageRecord:
    """Return the storage that a torch persistent id names.

    Raises:
        PickleError: it is no tuple ('storage', type, key, location, count[, view]).

    """
    if not isinstance(persistent_id, tuple) or len(persistent_id) < 5 or persistent_id[0] != "storage":
        raise PickleError("refers to something that is no torch storage")
    kind, key, _, count = persistent_id[1:5]
    if not isinstance(kind, Global) or not isinstance(key, str) or not _is_size(count):
        raise PickleError("describes a torch storage with values of the wrong type")
    if len(kind.name) > _LONGEST_NAME or len(key) > _LONGEST_NAME:
        raise PickleError("describes a torch storage with a name of unreasonable length")
    view = persistent_id[5] if len(persistent_id) > 5 else None
    view_offset = 0
    if isinstance(view, tuple) and len(view) == 3 and _is_size(view[1]):
        view_offset = view[1]
    return StorageRecord(TORCH_STORAGE.get(kind.name, kind.name), key, count, view_offset)


def reduce(function: Global, args: tuple[object, ...]) -> object:
    """Return the record, plain value or placeholder that a call in a torch pickle stands for."""
    known = _KNOWN.get((function.module, function.name))
    if known is None:
        return inert(function, args)
    if len(args) > _MAX_ARGUMENTS:
        # A pickle can pass one long tuple on at every step; what is done with it must not depend on its length.
        raise PickleError(f"calls {function} with arguments it does not take")
    try:
        return known(*args)
    except PickleError:
        raise
    except (TypeError, ValueError):
        raise PickleError(f"calls {function} with arguments it does not take") from None


def _is_size(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 62


def _sizes(values: object) -> tuple[int, ...]:
    if not isinstance(values, tuple) or len(values) > _MAX_AXES or not all(map(_is_size, values)):
        raise PickleError("describes a tensor with a negative or overflowing size, stride or offset")
    return values


def _tensor(
    storage: object,
    offset: object,
    shape: object,
    stride: object,
    _grad: object = None,
    _hooks: object = None,
    metadata: object = None,
    *_: object,
) -> TensorRecord:
    if not isinstance(storage, StorageRecord):
        raise PickleError("describes a tensor without a storage")
    (start,) = _sizes((offset,))
    sizes, steps = _sizes(shape), _sizes(stride)
    if len(sizes) != len(steps):
        raise PickleError("describes a tensor whose shape and strides have different lengths")
    lazily_negated = isinstance(metadata, dict) and metadata.get("neg")
    problem = "is stored with its signs to be flipped, which vqcheck does not read" if lazily_negated else ""
    return TensorRecord(storage.dtype, storage, start + storage.view_offset, sizes, steps, problem)


def _typed_tensor(
    storage: object,
    offset: object,
    shape: object,
    stride: object,
    _grad: object,
    _hooks: object,
    dtype: object,
    metadata: object = None,
    *_: object,
) -> TensorRecord:
    record = _tensor(storage, offset, shape, stride, None, None, metadata)
    if not isinstance(dtype, Global) or dtype.module != "torch" or len(dtype.name) > _LONGEST_NAME:
        raise PickleError("describes a tensor with an unknown element type")
    return replace(record, dtype=dtype.name)


def _first(value: object, *_: object) -> object:
    return value


def _from_type(function: object, _kind: object, args: object, *_: object) -> object:
    if not isinstance(function, Global) or not isinstance(args, tuple):
        raise PickleError("rebuilds a tensor subclass in an unknown way")
    # One level only: a subclass wraps one of the plain rebuild functions.
    if _KNOWN.get((function.module, function.name)) is _from_type:
        raise PickleError("wraps a tensor subclass in itself")
    return reduce(function, args)


def _unreadable(kind: str) -> Callable[..., TensorRecord]:
    def record(*args: Any) -> TensorRecord:
        shapes = (arg for arg in args if isinstance(arg, tuple) and len(arg) <= _MAX_AXES and all(map(_is_size, arg)))
        shape = next(shapes, ())
        return TensorRecord(kind, None, 0, shape, (0,) * len(shape), f"is {kind}, which vqcheck does not read")

    return record


def _dictionary(pairs: object = (), *_: object) -> dict[object, object]:
    result: dict[object, object] = {}
    if pairs == ():
        return result
    # Python 2 passes a list of pairs.
    if not isinstance(pairs, list) or not all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs):
        raise PickleError("builds a dictionary from something else than pairs")
    for key, value in pairs:
        result[scalar_key(key, len(result))] = value
    # Taken over, not copied: a pickle that passed the same list at every step would multiply it.
    pairs.clear()
    return result


_KNOWN: Final[dict[tuple[str, str], Callable[..., object]]] = {
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _typed_tensor,
    ("torch._utils", "_rebuild_parameter"): _first,
    ("torch._utils", "_rebuild_parameter_with_state"): _first,
    ("torch._tensor", "_rebuild_from_type"): _from_type,
    ("torch._tensor", "_rebuild_from_type_v2"): _from_type,
    ("torch._utils", "_rebuild_qtensor"): _unreadable("quantised"),
    ("torch._utils", "_rebuild_sparse_tensor"): _unreadable("sparse"),
    ("torch._utils", "_rebuild_nested_tensor"): _unreadable("nested"),
    ("torch._utils", "_rebuild_meta_tensor_no_storage"): _unreadable("a tensor without data"),
    ("torch._utils", "_rebuild_device_tensor_from_numpy"): _unreadable("held in a device's own format"),
    ("torch._utils", "_rebuild_device_tensor_from_cpu_tensor"): _unreadable("held in a device's own format"),
    ("torch._utils", "_rebuild_wrapper_subclass"): _unreadable("a wrapper tensor"),
    ("torch", "Size"): _sizes,
    ("collections", "OrderedDict"): _dictionary,
    ("collections", "defaultdict"): lambda *_: {},
}
