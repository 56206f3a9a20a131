"""Dictionaries of numpy's arrays as pickles: their bytes lie in the pickle itself. Nothing that it names is imported.

_reconstruct(ndarray, (0,), b"b"), then as its state (1, shape, dtype, in columns, bytes); from protocol 5 on
_frombuffer(bytes, dtype, shape, order). dtype("f4", False, True), then as its state (3, "<", None, ...).
"""

from dataclasses import dataclass
from math import prod
from typing import Final

from vqcheck.checkpoint import pickle_machine
from vqcheck.checkpoint.file import PositionedFile
from vqcheck.checkpoint.numpy_types import OBJECTS, dtype_of, problem_of, stride_of
from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.checkpoint.pickle_values import Global, Meaning, PickleError, Placeholder
from vqcheck.checkpoint.saved_object import checkpoint_of
from vqcheck.checkpoint.source import Source
from vqcheck.checkpoint.stored_tensor import ITEM_SIZE, Extent
from vqcheck.checkpoint.torch_calls import Calls
from vqcheck.checkpoint.torch_records import StorageRecord, TensorRecord, sizes
from vqcheck.language import tr
from vqcheck.sanitize import sanitize_name

_BEGINNING: Final = 4096
_LONGEST_KIND: Final = 20
_PLAIN_STATE: Final = (None, None, None, -1, -1, 0)
"""What a plain element type's state has behind its version and byte order."""


def recognises(source: Source) -> bool:
    """Say whether a file is a pickle that names numpy at its beginning, and no legacy file of torch."""
    from vqcheck.checkpoint import not_a_checkpoint, torch_legacy

    return (
        source.head[:1] == b"\x80"
        and not not_a_checkpoint.tar_kind(source.head)
        and b"numpy" in source.file.read(0, min(source.file.size, _BEGINNING), "pickle")
        and not torch_legacy.has_magic(source.file)
    )


def open_source(source: Source) -> Checkpoint:
    """Return an open pickle of arrays; raises CheckpointError as `open_pickle`."""
    return open_pickle(source.file, 0)


def open_pickle(file: PositionedFile, start: int) -> Checkpoint:
    """Return an open checkpoint, given a file and where the pickle in it begins.

    Raises:
        CheckpointError: a pickle that is damaged, too long, or holds more than arrays and plain data.

    """
    size = file.size - start
    if size > pickle_machine.MAX_BYTES:
        raise file.error(
            tr(
                "is a pickle of {size} bytes, more than the {most} that are read; save the "
                "arrays with numpy.savez, or as safetensors",
                size=size,
                most=pickle_machine.MAX_BYTES,
            )
        )
    meaning = _Arrays()
    try:
        root, end = pickle_machine.load(file.read(start, size, "pickle"), meaning)
        if end != size:
            raise PickleError(tr("is followed by other bytes"))
        if (
            isinstance(root, _Array)
            and root.dtype.descr == OBJECTS
            and isinstance(root.data, list)
            and root.shape == ()
        ):
            (root,) = root.data if len(root.data) == 1 else (None,)
        held = _Held()
        root = held.with_records(root)
    except PickleError as error:
        raise file.error(tr("the pickle {error}", error=str(error))) from None
    return checkpoint_of(file, "pickle of numpy arrays", root, held.extents, held.read)


@dataclass(slots=True, eq=False)
class _Dtype:
    """An element type. It must have its state before an array has it: numpy changes it in place."""

    kind: str
    descr: str = ""


@dataclass(slots=True, eq=False)
class _Array:
    """An array; without elements until it has its state."""

    dtype: _Dtype
    shape: tuple[int, ...] = ()
    in_columns: bool = False
    data: bytes | list[object] | None = None


class _Arrays(Meaning):
    """The meaning of such a pickle: arrays and element types are known, and no other class is."""

    def __init__(self) -> None:
        self._calls = Calls()

    def call(self, function: object, args: tuple[object, ...]) -> object:
        if not isinstance(function, Global):
            raise PickleError(tr("calls what it has made before"))
        name = function.name
        if function.module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            if name == "_reconstruct":
                if len(args) == 3 and args[:2] == (Global("numpy", "ndarray"), (0,)) and args[2] in (b"b", "b"):
                    return _Array(_Dtype("b1"))
                raise PickleError(tr("makes an array of another class, or in a way that numpy does not write"))
            if name == "scalar":
                return Placeholder(function, args, is_fixed=True)
        if function.module in ("numpy.core.numeric", "numpy._core.numeric") and name == "_frombuffer":
            return _from_buffer(args)
        if function == Global("numpy", "dtype"):
            kind, *rest = args or (None,)
            if (
                type(kind) is not str
                or len(kind) > _LONGEST_KIND
                or not all(type(each) in (bool, int) for each in rest)
            ):
                raise PickleError(tr("describes an element type in a way that numpy does not write"))
            return _Dtype(kind)
        if function.module in ("_codecs", "collections", "builtins", "__builtin__") and name in (
            "encode",
            "OrderedDict",
            "bytes",
            "bytearray",
            "dict",
        ):
            return self._calls.make(function, args)
        raise PickleError(
            tr(
                "calls {function}, where arrays of numpy and plain data are expected",
                function=sanitize_name(str(function)),
            )
        )

    def new(self, kind: object, args: tuple[object, ...], keywords: object = None) -> object:
        del args, keywords
        if kind == Global("collections", "OrderedDict"):
            return {}
        shown = sanitize_name(str(kind)) if isinstance(kind, Global) else tr("what it has made before")
        raise PickleError(
            tr("makes an object of {kind}, where arrays of numpy and plain data are expected", kind=shown)
        )

    def build(self, target: object, state: object) -> object:
        if isinstance(target, _Dtype) and not target.descr and isinstance(state, tuple) and len(state) == 8:
            version, order, *rest = state
            if version != 3 or type(order) is not str or order not in ("<", ">", "|"):
                raise PickleError(tr("describes an element type in a way that numpy does not write"))
            plain = tuple(rest) == _PLAIN_STATE
            target.descr = OBJECTS if target.kind in ("O", "O8") else f"{order}{target.kind}" if plain else "[...]"
            return target
        if isinstance(target, _Array) and target.data is None and isinstance(state, tuple) and len(state) == 5:
            _fill(target, *state[1:])
            return target
        raise PickleError(tr("gives a state to something that takes none, or a second one"))


def _fill(array: _Array, shape: object, dtype: object, in_columns: object, data: object) -> None:
    if not isinstance(dtype, _Dtype) or not dtype.descr or type(in_columns) not in (bool, int):
        raise PickleError(tr("describes an array in a way that numpy does not write"))
    if not isinstance(data, (bytes, list)):
        raise PickleError(tr("has an array whose elements are neither bytes nor objects"))
    array.dtype, array.shape, array.in_columns, array.data = dtype, sizes(shape), bool(in_columns), data


def _from_buffer(args: tuple[object, ...]) -> _Array:
    if len(args) not in (4, 5) or args[3] not in ("C", "F") or (len(args) == 5 and args[4] is not None):
        raise PickleError(tr("describes an array in a way that numpy does not write"))
    array = _Array(_Dtype("b1"))
    _fill(array, args[2], args[1], args[3] == "F", args[0])
    return array


class _Held:
    """The bytes of the arrays of one pickle, and records that refer to them."""

    def __init__(self) -> None:
        self.extents: dict[str, Extent] = {}
        self._data: dict[str, bytes] = {}
        self._records: dict[int, tuple[_Array, TensorRecord]] = {}
        """By the address of the array, which is kept so that nothing else gets it."""

    def read(self, extent: Extent, start: int, size: int) -> bytes:
        return self._data[extent.member][start : start + size]

    def with_records(self, root: object) -> object:
        """Return what was unpickled with a record in place of each array, and lists in place of tuples."""
        whole = [root]
        waiting: list[dict[object, object] | list[object]] = [whole]
        seen: set[int] = set()
        lists: dict[int, tuple[object, list[object]]] = {}
        while waiting:
            holder = waiting.pop()
            if id(holder) in seen:
                continue
            seen.add(id(holder))
            if isinstance(holder, dict):
                holder.update({key: self._replaced(value, lists) for key, value in holder.items()})
            else:
                holder[:] = [self._replaced(value, lists) for value in holder]
            inside = holder.values() if isinstance(holder, dict) else holder
            waiting += [each for each in inside if isinstance(each, (dict, list))]
        return whole[0]

    def _replaced(self, value: object, lists: dict[int, tuple[object, list[object]]]) -> object:
        if isinstance(value, _Array):
            return self._record(value)
        if not isinstance(value, tuple):
            return value
        if id(value) not in lists:
            lists[id(value)] = value, list(value)
        return lists[id(value)][1]

    def _record(self, array: _Array) -> TensorRecord:
        if id(array) not in self._records:
            self._records[id(array)] = array, self._made(array, str(len(self._records)))
        return self._records[id(array)][1]

    def _made(self, array: _Array, key: str) -> TensorRecord:
        descr = array.dtype.descr
        dtype = dtype_of(descr)
        stride = stride_of(array.shape, in_columns=array.in_columns)
        if not dtype or not isinstance(array.data, bytes):
            problem = problem_of(descr) if descr else tr("never gets its elements")
            return TensorRecord(dtype or descr, None, 0, array.shape, stride, problem)
        count = prod(array.shape)
        if len(array.data) != count * ITEM_SIZE[dtype]:
            raise PickleError(tr("has an array whose shape and bytes disagree"))
        self.extents[key] = Extent(f"array {key}", 0, len(array.data))
        self._data[f"array {key}"] = array.data
        return TensorRecord(dtype, StorageRecord(dtype, key, count), 0, array.shape, stride)
