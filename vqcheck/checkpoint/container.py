"""Where in a saved object the state dict is: containers are recognised by name, the rest is information."""

from dataclasses import dataclass
from typing import Final

from vqcheck.checkpoint.pickle_machine import Global, Placeholder
from vqcheck.checkpoint.torch_records import TensorRecord

KNOWN: Final = (
    "weight",
    "model",
    "state_dict",
    "generator",
    "net_g",
    "model_state_dict",
    "best_state",
    "model_g",
    "ema",
    "model_ema",
    "ema_state_dict",
    "ema_model",
)
"""Names under which trainers keep the state dict, in the order they are preferred."""

_MAX_DEPTH: Final = 4
_MAX_VALUES: Final = 2_000

Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]
"""What a file says beside its tensors, as plain values."""


@dataclass(frozen=True, slots=True)
class StateDict:
    """A mapping of names to tensors inside a saved object."""

    path: tuple[str, ...]
    """Keys that lead to it; empty when the saved object itself is the state dict."""
    tensors: dict[str, TensorRecord]


def find_state_dicts(root: object) -> list[StateDict]:
    """Return every mapping with tensors in a saved object, the preferred one first; optimizer state is left out.

    A tensor saved by itself is a state dict with one empty name.
    """
    if isinstance(root, TensorRecord):
        return [StateDict((), {"": root})]
    found: list[StateDict] = []
    _collect(root, (), found)
    return sorted(found, key=_preference)


def information(root: object) -> dict[str, Plain]:
    """Return what a saved object says beside tensors and optimizer state, as plain values of bounded size."""
    if not isinstance(root, dict):
        return {}
    budget = [_MAX_VALUES]
    plain: dict[str, Plain] = {}
    for key, value in root.items():
        if isinstance(key, str) and not _is_optimizer(key) and not isinstance(value, TensorRecord):
            if isinstance(value, dict) and any(isinstance(item, TensorRecord) for item in value.values()):
                continue
            plain[key] = _plain(value, _MAX_DEPTH, budget)
    return plain


def _is_optimizer(key: str) -> bool:
    return key.lower().startswith("optim")


def _collect(value: object, path: tuple[str, ...], found: list[StateDict]) -> None:
    if isinstance(value, Placeholder):
        value = value.items
    if not isinstance(value, dict) or len(path) > _MAX_DEPTH:
        return
    tensors = {key: item for key, item in value.items() if isinstance(key, str) and isinstance(item, TensorRecord)}
    if tensors:
        found.append(StateDict(path, tensors))
    for key, item in value.items():
        if isinstance(key, str) and not _is_optimizer(key) and isinstance(item, (dict, Placeholder)):
            _collect(item, (*path, key), found)


def _preference(state_dict: StateDict) -> tuple[int, int, int]:
    rank = KNOWN.index(state_dict.path[-1]) if state_dict.path and state_dict.path[-1] in KNOWN else len(KNOWN)
    return rank, len(state_dict.path), -len(state_dict.tensors)


def _plain(value: object, depth: int, budget: list[int]) -> Plain:
    budget[0] -= 1
    if budget[0] < 0:
        return "..."
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return value[:_MAX_VALUES]
    if isinstance(value, (Global, bytes)):
        return f"<{value}>" if isinstance(value, Global) else f"<{len(value)} bytes>"
    if isinstance(value, Placeholder) and depth:
        return _plain_object(value, depth, budget)
    if isinstance(value, (list, tuple)) and depth:
        return [_plain(item, depth - 1, budget) for item in value[: budget[0] + 1]]
    if isinstance(value, dict) and depth:
        return {
            str(key)[:_MAX_VALUES]: _plain(item, depth - 1, budget)
            for key, item in value.items()
            if budget[0] > 0 and not isinstance(item, TensorRecord)
        }
    return "..."


def _plain_object(value: Placeholder, depth: int, budget: list[int]) -> Plain:
    """Return an object's attributes or its items, for a path the path, else only its class."""
    if isinstance(value.state, dict):
        return _plain(value.state, depth, budget)
    if value.items:
        return _plain(value.items, depth, budget)
    if isinstance(value.callee, Global) and value.callee.module.startswith("pathlib"):
        return "/".join(str(part) for part in value.args if isinstance(part, str))
    return f"<{value.callee}>" if isinstance(value.callee, Global) else "<object>"
