"""TorchScript archives: the parameters and buffers in the object tree of a scripted or traced module; nothing is run.

    data.pkl           the tree: objects of classes `__torch__...`, each with a dictionary of its attributes
    data/KEY           storages
    code/__torch__.py  the classes: which attributes each has, and which of them are parameters and buffers
    constants.pkl      constants of the code, which are no state

torch.jit.load gives an object the attributes that its class declares; where a class has `__setstate__`, it runs that.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.checkpoint.pickle_values import Global, Meaning, PickleError, Placeholder
from vqcheck.checkpoint.saved_object import checkpoint_of
from vqcheck.checkpoint.source import Source
from vqcheck.checkpoint.torch_rebuild import REBUILD, rebuild
from vqcheck.checkpoint.torch_records import StorageRecord, Storages, TensorRecord
from vqcheck.checkpoint.torch_zip import extents_in, folder_of, pickled_in, unpickled
from vqcheck.checkpoint.torchscript_code import Classes
from vqcheck.language import tr
from vqcheck.sanitize import sanitize_name

_CLASSES: Final = "__torch__"
_OF_C: Final = "__torch__.torch.classes"
_REBUILT: Final = frozenset(("_rebuild_tensor_v2", "_rebuild_qtensor", "_rebuild_sparse_tensor"))
_MAX_FIELDS: Final = 2_000
_MAX_OBJECTS: Final = 20_000
_MAX_TENSORS: Final = 100_000
_DEEPEST: Final = 32
_LONGEST_NAME: Final = 200

_MISSING: Final = object()


def recognises(source: Source) -> bool:
    """Say whether a zip archive has a torch index and constants of TorchScript."""
    archive = source.archive
    return bool(archive.ending("data.pkl") and archive.ending("constants.pkl"))


def open_source(source: Source) -> Checkpoint:
    """Return an open TorchScript archive; its state dict is what `torch.jit.load(FILE).state_dict()` has.

    Raises:
        CheckpointError: an archive that is damaged, that runs code to make its values, or that has no state.

    """
    archive = source.archive
    if source.header_code:
        raise archive.error(
            tr("is a TorchScript archive whose first two bytes were overwritten; torch does not load it")
        )
    folder = folder_of(archive)
    storages: list[StorageRecord] = []
    root = unpickled(archive, folder, pickled_in(archive, folder), _ScriptMeaning(storages.append))
    if not archive.find(f"{folder}constants.pkl"):
        raise archive.error(
            tr("is neither a torch checkpoint nor a TorchScript archive: its parts lie in several folders")
        )
    try:
        state = _state(root, Classes(archive, f"{folder}code/"))
    except PickleError as error:
        raise archive.error(str(error)) from None
    if not state:
        raise archive.error(
            tr(
                "is a TorchScript archive without parameters and buffers (frozen, they are constants of its code); "
                "name the checkpoint that it was made from"
            )
        )
    return checkpoint_of(
        source.file,
        "TorchScript",
        state,
        extents_in(archive, folder, storages),
        lambda extent, start, size: archive.read(extent.member, start, size),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Unbuilt:
    """An object before it has its attributes. To torch it is a number then; whoever refers to it refers to that."""

    kind: Global


@dataclass(frozen=True, slots=True, eq=False)
class _Object:
    """An object with the attributes that it got."""

    kind: Global
    attributes: dict[str, object]


class _ScriptMeaning(Meaning):
    """The meaning of an object tree, as TorchScript's own unpickler reads it."""

    def __init__(self, found: Callable[[StorageRecord], None]) -> None:
        self._storages = Storages(found, most_parts=5)

    def reference(self, persistent_id: object) -> object:
        return self._storages.refer(persistent_id)

    def call(self, function: object, args: tuple[object, ...]) -> object:
        if not isinstance(function, Global):
            raise PickleError(tr("calls what it has made before"))
        if function.module == "torch._utils" and function.name in _REBUILT:
            return rebuild(function, REBUILD[function.module, function.name], args)
        if function == Global("collections", "OrderedDict") and not args:
            return {}
        if function.module in ("torch.jit._pickle", "torch") or function.module.startswith(_CLASSES):
            # Lists and dictionaries of one type, devices, members of enumerations: no state of a module.
            return Placeholder(function, args, is_fixed=True)
        raise PickleError(
            tr("calls {function}, which TorchScript does not know", function=sanitize_name(str(function)))
        )

    def new(self, kind: object, args: tuple[object, ...], keywords: object = None) -> object:
        if not isinstance(kind, Global) or args or keywords is not None:
            raise PickleError(tr("makes an object in a way that TorchScript does not write"))
        if kind.module.split(".")[0] != _CLASSES or kind.module.startswith(_OF_C):
            raise PickleError(
                tr("makes an object of {kind}, which is no class of the archive", kind=sanitize_name(str(kind)))
            )
        return _Unbuilt(kind)

    def build(self, target: object, state: object) -> object:
        if not isinstance(target, _Unbuilt):
            raise PickleError(tr("gives a state to what is no object"))
        if not isinstance(state, dict) or len(state) > _MAX_FIELDS or not all(type(key) is str for key in state):
            kind = sanitize_name(str(target.kind))
            raise PickleError(
                tr("gives an object of {kind} a state that its class makes values of (__setstate__)", kind=str(kind))
            )
        # torch takes the attributes over as they are now, whatever becomes of the dictionary.
        return _Object(target.kind, dict(state))


def _state(root: object, classes: Classes) -> dict[str, TensorRecord]:
    """Return name -> tensor of every parameter and buffer of a module and of the modules in it."""
    state: dict[str, TensorRecord] = {}
    waiting = [("", root, 0)]
    seen = 0
    while waiting:
        prefix, module, depth = waiting.pop()
        seen += 1
        if not isinstance(module, _Object) or not classes.of(module.kind).is_module:
            raise PickleError(tr("holds something else than a module"))
        if seen > _MAX_OBJECTS or len(state) > _MAX_TENSORS or depth > _DEEPEST:
            raise PickleError(tr("holds too many modules, or some too deep"))
        declared = classes.of(module.kind)
        for name, written in declared.attributes.items():
            value = module.attributes.get(name, _MISSING)
            if value is _MISSING or isinstance(value, _Unbuilt) or "." in name or len(name) > _LONGEST_NAME:
                raise PickleError(tr("does not give {name} a value", name=sanitize_name(prefix + name)))
            if name in declared.state:
                if isinstance(value, TensorRecord):
                    state[prefix + name] = value
                elif value is not None:
                    raise PickleError(
                        tr("gives {name} something else than a tensor", name=sanitize_name(prefix + name))
                    )
            elif isinstance(value, _Object) and classes.of(value.kind).is_module:
                if written != str(value.kind):
                    raise PickleError(tr("gives {name} a module of another class", name=sanitize_name(prefix + name)))
                waiting.append((f"{prefix}{name}.", value, depth + 1))
            elif classes.is_module(written):
                raise PickleError(tr("gives {name} something else than a module", name=sanitize_name(prefix + name)))
    return state
