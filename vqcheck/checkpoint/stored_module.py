"""A module that was saved whole: what it stores, by the names that its state dict would have.

torch.save(module) writes the module's attributes, and its class makes of them what it likes when the file is loaded.
"""

from typing import Final

from vqcheck.checkpoint.pickle_values import Global, PickleError, Placeholder
from vqcheck.checkpoint.torch_records import TensorRecord
from vqcheck.language import tr
from vqcheck.sanitize import sanitize_name

_PARTS: Final = ("_parameters", "_buffers", "_modules")
_DEEPEST: Final = 32
_MAX_MODULES: Final = 20_000
_MAX_TENSORS: Final = 100_000
_LONGEST_NAME: Final = 200


def is_module(value: object) -> bool:
    """Say whether a value that was unpickled is an object with the attributes of a module, and no more than those."""
    return (
        isinstance(value, Placeholder)
        and isinstance(value.callee, Global)
        and not (value.args or value.items or value.elements)
        and isinstance(value.state, dict)
        and all(isinstance(value.state.get(part), dict) for part in _PARTS)
    )


def state_dict_of(module: object) -> dict[str, TensorRecord]:
    """Return name -> tensor of what a module and the modules in it store, as its state dict has it.

    Raises:
        PickleError: something else stands where modules keep tensors or modules, or there are too many.

    """
    state: dict[str, TensorRecord] = {}
    waiting: list[tuple[str, object, int]] = [("", module, 0)]
    seen = 0
    while waiting:
        prefix, value, depth = waiting.pop()
        seen += 1
        if seen > _MAX_MODULES or len(state) > _MAX_TENSORS or depth > _DEEPEST:
            raise PickleError(tr("holds too many modules, or some too deep"))
        if not isinstance(value, Placeholder) or not isinstance(value.state, dict) or not is_module(value):
            raise PickleError(tr("holds in place of the module {prefix} something else", prefix=sanitize_name(prefix)))
        parameters, buffers, modules = (value.state[part] for part in _PARTS)
        passing = _passing(value.state.get("_non_persistent_buffers_set"))
        for name, held in (*parameters.items(), *buffers.items()):
            if not isinstance(name, str) or "." in name or len(name) > _LONGEST_NAME:
                raise PickleError(tr("holds a tensor of {prefix} without a usable name", prefix=sanitize_name(prefix)))
            if held is None or (name in passing and name in buffers):
                continue
            if not isinstance(held, TensorRecord) or prefix + name in state:
                raise PickleError(
                    tr(
                        "holds in place of the tensor {name} something else, or two",
                        name=sanitize_name(prefix + name),
                    )
                )
            state[prefix + name] = held
        for name, held in modules.items():
            if not isinstance(name, str) or "." in name or len(name) > _LONGEST_NAME:
                raise PickleError(tr("holds a module in {prefix} without a usable name", prefix=sanitize_name(prefix)))
            if held is not None:
                waiting.append((f"{prefix}{name}.", held, depth + 1))
    return state


def _passing(value: object) -> frozenset[str]:
    """Return the names of buffers that a state dict leaves out."""
    if not isinstance(value, Placeholder):
        return frozenset()
    given = value.args[0] if value.args else ()
    names = (*value.elements, *(given if isinstance(given, (list, tuple)) else ()))
    return frozenset(name for name in names[:_MAX_TENSORS] if isinstance(name, str))
