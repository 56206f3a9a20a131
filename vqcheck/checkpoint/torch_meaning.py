"""What the calls and objects in a torch pickle mean: exactly what torch makes of them, or the file is refused.

torch.load(weights_only=True) is the measure. A file that needs weights_only=False holds objects of classes that cannot
be known here; they are read as names, as long as nothing that they are handed leads to a tensor.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from vqcheck.checkpoint.pickle_values import Global, Meaning, OtherKey, PickleError, Placeholder
from vqcheck.checkpoint.stored_module import is_module
from vqcheck.checkpoint.torch_calls import DICTIONARIES, HOLDERS, NO_TENSOR, Calls
from vqcheck.checkpoint.torch_rebuild import REBUILD, rebuild
from vqcheck.checkpoint.torch_records import StorageRecord, Storages, TensorRecord, save_again
from vqcheck.language import tr
from vqcheck.quick_dataclass import quick_dataclass
from vqcheck.sanitize import sanitize_name

_TENSOR_CLASS: Final = re.compile(r"(Tensor|Parameter|Storage|Buffer|Variable|TensorBase|ndarray|memmap)$")
_RECONSTRUCTORS: Final = (("copyreg", "_reconstructor"), ("copy_reg", "_reconstructor"))
_WORKING_MODULES: Final = ("builtins", "__builtin__", "itertools", "operator", "_operator")
"""Modules whose classes work through their arguments as soon as they are made, as `bytes` does with a `map`."""
_OBJECT: Final = (Global("builtins", "object"), Global("__builtin__", "object"))


class TorchMeaning(Meaning):
    """The meaning of one torch pickle. Read the pickle with it, then ask `require_apart`.

    `found` is called with each storage that the pickle refers to, and with each view of one. `most_parts` is how many
    parts a persistent id has.
    """

    def __init__(self, found: Callable[[StorageRecord], None], most_parts: int) -> None:
        self._refers_to_modules = most_parts == 6
        self._calls = Calls()
        self._storages = Storages(found, most_parts)
        self._objects: list[Placeholder] = []
        """What must not be handed a tensor."""
        self._classes: set[str] = set()
        self._modules: list[Placeholder] = []

    def reference(self, persistent_id: object) -> object:
        if self._refers_to_modules and isinstance(persistent_id, tuple) and persistent_id[:1] == ("module",):
            # The class of a module that was saved whole, with its source; it stays a name.
            if len(persistent_id) == 4 and isinstance(persistent_id[1], Global):
                return persistent_id[1]
            raise PickleError(tr("refers to a module in a way that torch does not write"))
        return self._storages.refer(persistent_id)

    def call(self, function: object, args: tuple[object, ...]) -> object:
        if type(function) is not Global:
            raise PickleError(save_again(tr("calls what it has made before")))
        key = function.module, function.name
        known = REBUILD.get(key)
        if known is not None:
            return rebuild(function, known, args)
        if not args and key in DICTIONARIES:
            return {}
        if key in _RECONSTRUCTORS:
            return self._reconstructed(args)
        try:
            made = self._calls.make(function, args)
        except PickleError as error:
            raise PickleError(save_again(str(error))) from None
        if isinstance(made, Placeholder) and key not in HOLDERS:
            self._objects.append(made)
        return made

    def new(self, kind: object, args: tuple[object, ...], keywords: object = None) -> object:
        if type(kind) is not Global:
            raise PickleError(save_again(tr("makes an object of what it has made before")))
        key = kind.module, kind.name
        if key in DICTIONARIES:
            # Filled by an initialiser, which is not called here: whatever the arguments, it is empty.
            return {}
        of_torch = kind.module.partition(".")[0] in ("torch", "numpy")
        if key in REBUILD or _TENSOR_CLASS.search(kind.name) or (of_torch and args and key not in NO_TENSOR):
            raise PickleError(save_again(tr("makes an object of {kind}, which may be a tensor", kind=str(kind))))
        if kind.module in _WORKING_MODULES and key not in NO_TENSOR and kind not in _OBJECT:
            raise PickleError(save_again(tr("makes an object of {kind}, which may do anything", kind=str(kind))))
        made = Placeholder(kind, args if keywords is None else (*args, keywords))
        if key not in HOLDERS:
            self._objects.append(made)
        if key not in NO_TENSOR:
            self._classes.add(sanitize_name(str(kind)))
        return made

    def build(self, target: object, state: object) -> object:
        if isinstance(target, dict):
            if not isinstance(state, dict) or not state.keys() <= {"_metadata"}:
                raise PickleError(
                    save_again(
                        tr(
                            "gives a dictionary a state of its own, which may change what it holds",
                        )
                    )
                )
        elif isinstance(target, TensorRecord):
            raise PickleError(save_again(tr("gives a tensor a state, which may change its values")))
        elif not isinstance(target, Placeholder) or target.is_fixed:
            raise PickleError(
                save_again(
                    tr(
                        "gives a state to {named}, which may be shared",
                        named=_named(target),
                    )
                )
            )
        elif target.state is not None:
            raise PickleError(tr("gives an object of {callee} two states", callee=str(target.callee)))
        else:
            target.state = state
        return target

    def require_apart(self) -> None:
        """Raise PickleError when more than torch's own calls, plain containers and modules are handed a tensor."""
        seen: set[int] = set()
        self._modules = [owner for owner in self._objects if is_module(owner)]
        whole = set(map(id, self._modules))
        for owner in self._objects:
            if id(owner) in whole:
                continue
            seen.add(id(owner))
            waiting = list(owner.parts())
            while waiting:
                value = waiting.pop()
                if isinstance(value, (TensorRecord, StorageRecord)):
                    raise PickleError(
                        save_again(
                            tr(
                                "hands a tensor to {callee}, which may change it",
                                callee=owner.callee,
                            )
                        )
                    )
                waiting.extend(_parts(value, seen))

    def classes(self) -> tuple[str, ...]:
        """Return the classes that are not plain data: each runs code of its own when it is loaded by Python."""
        return tuple(sorted(self._classes))

    def module_classes(self) -> tuple[str, ...]:
        """Return the classes of modules that were saved whole, those that are not torch's own first.

        Their code decides what becomes of every tensor that they are handed, wherever else it stands in the file.
        """
        if not leads_to_tensor(self._modules, set()):
            return ()
        names = {sanitize_name(str(module.callee)) for module in self._modules}
        return tuple(sorted(names, key=lambda name: (name.startswith("torch."), name)))

    def _reconstructed(self, args: tuple[object, ...]) -> object:
        """Return the object that protocols 0 and 1 make: of a plain class, or of one that is a dictionary or a list."""
        kind, base, state = args if len(args) == 3 else (None, None, None)
        if not isinstance(kind, Global) or not isinstance(base, Global):
            raise PickleError(tr("makes an object in a way that Python does not write"))
        if base in _OBJECT and state is None:
            return self.new(kind, ())
        made = self.new(kind, ())
        if base.name == "dict" and base.module in ("builtins", "__builtin__") and isinstance(state, dict):
            if isinstance(made, dict):
                return self._calls.dictionary(base, (state,))
            made = Placeholder(kind, (state,), items=state)
            self._objects.append(made)
            return made
        if base.name == "list" and base.module in ("builtins", "__builtin__") and isinstance(made, Placeholder):
            made.args = (state,)
            return made
        raise PickleError(
            save_again(
                tr(
                    "makes an object of {kind} from {base}, which vqcheck does not know",
                    kind=str(kind),
                    base=str(base),
                )
            )
        )


@quick_dataclass(frozen=True, slots=True)
class PickledIndex:
    """What the pickle of a torch zip archive's index comes to. It follows from its bytes alone."""

    pickled: bytes
    root: object
    """With records for tensors"""
    storages: tuple[StorageRecord, ...]
    """Every storage that it refers to"""
    meaning: TorchMeaning
    """That it was read with"""


def leads_to_tensor(value: object, seen: set[int]) -> bool:
    """Say whether a tensor or a storage is, or lies anywhere in, a value. `seen` has what is known to hold none."""
    return next(_references(value, seen), None) is not None


def references(root: object) -> Iterator[TensorRecord | StorageRecord]:
    """Yield what a value refers to of tensors and storages, once for each reference."""
    return _references(root, set())


def _references(root: object, seen: set[int]) -> Iterator[TensorRecord | StorageRecord]:
    waiting = [root]
    while waiting:
        value = waiting.pop()
        if isinstance(value, (TensorRecord, StorageRecord)):
            yield value
        waiting.extend(_parts(value, seen))


def _parts(value: object, seen: set[int]) -> Iterable[object]:
    """Return what lies directly in a value, once for each that can hold something."""
    if not isinstance(value, (dict, list, tuple, Placeholder, OtherKey)) or id(value) in seen:
        return ()
    seen.add(id(value))
    if isinstance(value, dict):
        return (*(key for key in value if isinstance(key, OtherKey)), *value.values())
    if isinstance(value, Placeholder):
        return value.parts()
    return (value.value,) if isinstance(value, OtherKey) else value


def _named(target: object) -> str:
    if isinstance(target, Global):
        return str(target)
    return str(target.callee) if isinstance(target, Placeholder) else f"a {type(target).__name__}"
