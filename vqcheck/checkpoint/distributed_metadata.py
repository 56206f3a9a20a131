"""The `.metadata` of torch's distributed checkpoints, read as records; nothing that it names is imported.

    Metadata.state_dict_metadata   name -> TensorStorageMetadata(properties.dtype, size, chunks) or BytesStorageMetadata
    Metadata.planner_data          name -> the keys that lead to it in the object that was saved
    Metadata.storage_data          MetadataIndex(name, offset of the chunk) -> _StorageInfo(file, offset, length)

torch finds a chunk's bytes by its name and offset, and copies the chunks into an empty tensor one after the other.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Any, Final

from vqcheck.checkpoint import pickle_machine
from vqcheck.checkpoint.pickle_values import Global, Meaning, OtherKey, PickleError, Placeholder
from vqcheck.checkpoint.torch_records import sizes
from vqcheck.language import tr
from vqcheck.sanitize import sanitize_name

_METADATA: Final = "torch.distributed.checkpoint.metadata"
_OLDER: Final = "torch.distributed._shard.sharded_tensor.metadata"
_PROPERTIES: Final = (Global(_METADATA, "TensorProperties"), Global(_OLDER, "TensorProperties"))
_STORAGE_INFO: Final = Global("torch.distributed.checkpoint.filesystem", "_StorageInfo")
_ROOT, _TENSOR, _BYTES, _CHUNK, _INDEX, _META = (
    Global(_METADATA, name)
    for name in (
        "Metadata",
        "TensorStorageMetadata",
        "BytesStorageMetadata",
        "ChunkStorageMetadata",
        "MetadataIndex",
        "StorageMeta",
    )
)
_RECORDS: Final = frozenset((_ROOT, _TENSOR, _BYTES, _CHUNK, _INDEX, _META, _STORAGE_INFO, *_PROPERTIES))
_INERT: Final = frozenset(
    (
        Global(_METADATA, "_MEM_FORMAT_ENCODING"),
        Global(_OLDER, "MEM_FORMAT_ENCODING"),
        Global("torch.serialization", "_get_layout"),
        *(
            Global(module, name)
            for module in ("pathlib", "pathlib._local")
            for name in ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")
        ),
    )
)
"""What is called beside, of which nothing depends: memory formats, layouts, and where the checkpoint was written."""

_MAX_FIELDS: Final = 8
_MAX_CHUNKS: Final = 200_000
"""Chunks of all tensors together: many tensors may name one list of them."""
_MOST_CHUNKS: Final = 1_024
"""Chunks of one tensor that is read."""
_MAX_DEPTH: Final = 16
_LONGEST_NAME: Final = 2_000


@dataclass(frozen=True, slots=True)
class Chunk:
    """A box of a tensor, and where its own file lies in one of the checkpoint's."""

    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    file: str
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class DistributedTensor:
    """One tensor of a distributed checkpoint; sizes are claims, and each chunk lies inside the tensor."""

    dtype: str
    shape: tuple[int, ...]
    chunks: tuple[Chunk, ...]
    """Those that hold something."""
    problem: str
    """Why it cannot be read; empty when it may."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a distributed checkpoint holds."""

    tensors: dict[str, DistributedTensor]
    others: tuple[str, ...]
    """Names of what is no tensor."""
    keys: dict[str, tuple[str | int, ...]]
    """Name -> the keys that lead to it in the object that was saved."""


class _Records(Meaning):
    """The meaning of such a pickle: its classes are records, and nothing else is known."""

    def call(self, function: object, args: tuple[object, ...]) -> object:
        if function == Global("torch", "Size") and len(args) == 1:
            return sizes(args[0])
        if function == Global("collections", "OrderedDict") and not args:
            return {}
        if isinstance(function, Global) and function in _INERT:
            return Placeholder(function, args, is_fixed=True)
        raise PickleError(tr("calls {kind}, which has no place in a distributed checkpoint", kind=_shown(function)))

    def new(self, kind: object, args: tuple[object, ...], keywords: object = None) -> object:
        if not isinstance(kind, Global) or kind not in _RECORDS or args or keywords is not None:
            raise PickleError(
                tr("makes an object of {kind}, which has no place in a distributed checkpoint", kind=_shown(kind))
            )
        return Placeholder(kind, ())

    def build(self, target: object, state: object) -> object:
        if not isinstance(target, Placeholder) or target.is_fixed or target.state is not None:
            raise PickleError(tr("gives a state to what takes none, or a second one"))
        if target.callee in _PROPERTIES:
            if not isinstance(state, tuple) or len(state) != 5:
                raise PickleError(tr("describes the properties of a tensor in a way that torch does not write"))
            target.state = state
            return target
        if not isinstance(state, dict) or len(state) > _MAX_FIELDS or not all(type(key) is str for key in state):
            raise PickleError(tr("gives {callee} a state that torch does not write", callee=str(target.callee)))
        # Python takes the fields over as they are now, whatever becomes of the dictionary.
        target.state = dict(state)
        return target


def read_metadata(data: bytes | bytearray) -> Metadata:
    """Return what the bytes of a `.metadata` say.

    Raises:
        PickleError: they are damaged, hold more than records, or say what two readers may take differently.

    """
    root, _ = pickle_machine.load(data, _Records())
    fields = _fields(root, _ROOT)
    stored = _stored(fields.get("storage_data"))
    tensors: dict[str, DistributedTensor] = {}
    others: list[str] = []
    chunks = 0
    for name, entry in _mapping(fields.get("state_dict_metadata"), tr("names no tensors")).items():
        if type(name) is not str or len(name) > _LONGEST_NAME:
            raise PickleError(tr("names a tensor with something that is no text, or too long"))
        if isinstance(entry, Placeholder) and entry.callee == _BYTES:
            others.append(name)
            continue
        described = _fields(entry, _TENSOR)
        listed = described.get("chunks")
        if not isinstance(listed, list):
            raise PickleError(tr("does not say where {name} is", name=sanitize_name(name)))
        chunks += len(listed)
        if chunks > _MAX_CHUNKS:
            raise PickleError(tr("has more than {most} chunks", most=_MAX_CHUNKS))
        tensors[name] = _tensor(name, described, listed, stored)
    return Metadata(tensors, tuple(others), _keys(fields.get("planner_data"), (*tensors, *others)))


def _tensor(
    name: str,
    described: dict[str, object],
    listed: list[object],
    stored: dict[tuple[str, tuple[int, ...] | None], Placeholder],
) -> DistributedTensor:
    properties = described.get("properties")
    state = properties.state if isinstance(properties, Placeholder) and properties.callee in _PROPERTIES else None
    dtype = state[0] if isinstance(state, tuple) else None
    if not isinstance(dtype, Global) or dtype.module != "torch" or len(dtype.name) > _LONGEST_NAME:
        raise PickleError(tr("gives {name} no element type", name=sanitize_name(name)))
    shape = sizes(described.get("size"))
    chunks: list[Chunk] = []
    problem = ""
    for each in listed:
        box = _fields(each, _CHUNK)
        offsets, lengths = sizes(box.get("offsets")), sizes(box.get("sizes"))
        if len(offsets) != len(shape) or len(lengths) != len(shape):
            raise PickleError(tr("gives a chunk of {name} another number of axes", name=sanitize_name(name)))
        if not prod(lengths):
            continue
        if any(start + length > whole for start, length, whole in zip(offsets, lengths, shape, strict=True)):
            raise PickleError(tr("gives {name} a chunk that reaches out of it", name=sanitize_name(name)))
        info = stored.get((name, offsets))
        if info is None:
            problem = tr("one of its chunks is stored nowhere")
            continue
        place = _fields(info, _STORAGE_INFO)
        if place.get("transform_descriptors"):
            problem = tr("is stored in a transformed form, such as compressed")
        chunks.append(Chunk(offsets, lengths, _file(place), *sizes((place.get("offset"), place.get("length")))))
    if len(chunks) > _MOST_CHUNKS:
        problem = tr(
            "consists of {chunks} chunks, more than the {most} that are read", chunks=len(chunks), most=_MOST_CHUNKS
        )
    elif sum(prod(chunk.sizes) for chunk in chunks) != prod(shape):
        # torch copies the chunks into memory that holds anything, each over those before it.
        problem = problem or tr("its chunks overlap, or leave a part of it out")
    return DistributedTensor(dtype.name, shape, tuple(chunks), problem)


def _file(place: dict[str, object]) -> str:
    name = place.get("relative_path")
    # Colons and backslashes lead elsewhere on Windows only, but a checkpoint has no use for them anywhere.
    if not isinstance(name, str) or not 0 < len(name) <= 255 or name in (".", "..") or any(c in name for c in "/\\:\0"):
        raise PickleError(tr("refers to a file that is not in the checkpoint's own folder"))
    return name


def _stored(value: object) -> dict[tuple[str, tuple[int, ...] | None], Placeholder]:
    """Return (name, offset of the chunk) -> where it is stored."""
    stored: dict[tuple[str, tuple[int, ...] | None], Placeholder] = {}
    for key, info in _mapping(value, tr("does not say where the tensors are stored")).items():
        index = _fields(key.value if isinstance(key, OtherKey) else key, _INDEX)
        name, offset = index.get("fqn"), index.get("offset")
        if type(name) is not str or len(name) > _LONGEST_NAME or not isinstance(info, Placeholder):
            raise PickleError(tr("says of something nameless where it is stored"))
        place = name, None if offset is None else sizes(offset)
        if place in stored:
            raise PickleError(tr("has two places for one chunk of {name}", name=sanitize_name(name)))
        stored[place] = info
    return stored


def _keys(planned: object, names: Iterable[str]) -> dict[str, tuple[str | int, ...]]:
    """Return name -> the keys that lead to it; a name is its keys joined with dots, or torch would not find it."""
    known = planned if isinstance(planned, dict) else {}
    keys: dict[str, tuple[str | int, ...]] = {}
    for name in names:
        path = known.get(name, (name,))
        if (
            not isinstance(path, tuple)
            or not 0 < len(path) <= _MAX_DEPTH
            or not all(_is_key(key, len(name)) for key in path)
            or ".".join(map(str, path)) != name
        ):
            raise PickleError(
                tr("says in a way that torch does not write where {name} belongs", name=sanitize_name(name))
            )
        keys[name] = path
    return keys


def _is_key(key: object, longest: int) -> bool:
    return (type(key) is int and 0 <= key < _MAX_CHUNKS) or (isinstance(key, str) and len(key) <= longest)


def _mapping(value: object, problem: str) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise PickleError(problem)
    return value


def _fields(value: object, kind: Global) -> dict[str, object]:
    """Return the fields of a record of this kind."""
    if not isinstance(value, Placeholder) or value.callee != kind or not isinstance(value.state, dict | None):
        raise PickleError(tr("has something else where {name} is expected", name=kind.name))
    return value.state or {}


def _shown(value: object) -> str:
    return sanitize_name(str(value)) if isinstance(value, Global) else tr("what it has made before")
