"""Where in a saved object the state dict is: containers are recognised by name, the rest is information."""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from math import isfinite
from typing import Final, NamedTuple, cast

from vqcheck.checkpoint.pickle_values import Global, OtherKey, PickleError, Placeholder, may_be_equal
from vqcheck.checkpoint.second_hand import second_hand
from vqcheck.checkpoint.stored_module import is_module, state_dict_of
from vqcheck.checkpoint.stored_tensor import ITEM_SIZE
from vqcheck.checkpoint.torch_calls import NO_TENSOR
from vqcheck.checkpoint.torch_meaning import leads_to_tensor, references
from vqcheck.checkpoint.torch_records import StorageRecord, TensorRecord, save_again
from vqcheck.language import tr
from vqcheck.quick_dataclass import quick_dataclass
from vqcheck.sanitize import sanitize_name

KNOWN: Final = (
    "weight",
    "model",
    "state_dict",
    "generator",
    "net_g",
    "model_state_dict",
    "model_g",
    "best_state",
    "ema",
    "model_ema",
    "ema_state_dict",
    "ema_model",
)
"""Names under which trainers keep the state dict, in the order they are preferred."""

_OPTIMIZER: Final = frozenset({"state", "param_groups"})
"""What an optimizer's state dict has."""
_MAX_DEPTH: Final = 4
_DEEPEST: Final = 32
_MAX_MAPPINGS: Final = 100_000
_LONGEST_KEY: Final = 200
_MAX_VALUES: Final = 2_000
_LONGEST_TEXT: Final = 2_000
_WIDEST_INTEGER: Final = 256

Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]
"""What a file says beside its tensors, as plain values."""


@quick_dataclass(frozen=True, slots=True)
class StateDict:
    """A mapping of names to tensors inside a saved object."""

    path: tuple[str, ...]
    """Keys that lead to it; empty when the saved object itself is the state dict."""
    tensors: dict[str, TensorRecord]


class _Place(NamedTuple):
    """A value inside a saved object."""

    path: tuple[str, ...]
    value: object
    numbered: bool
    """A list, a tuple or a key that is not text leads to it."""


def find_state_dicts(root: object) -> list[StateDict]:
    """Return every mapping with tensors in a saved object, the preferred one first; optimizer state is left out.

    A tensor saved by itself is a state dict with one empty name.

    Raises:
        PickleError: a mapping in which a codebook may stand that is not seen, or more of them than are looked at.

    """
    if isinstance(root, TensorRecord):
        return [StateDict((), {"": root})]
    found: dict[tuple[str, ...], StateDict] = {}
    for each in _mappings_with_tensors(root):
        path = each.path
        while path in found:
            path = (*path[:-1], f"{path[-1]}'")
        found[path] = StateDict(path, each.tensors)
    return sorted(found.values(), key=_preference)


def references_elsewhere(root: object, known: Iterable[StateDict]) -> list[TensorRecord | StorageRecord]:
    """Return what a saved object refers to beside its state dicts: tensors, again or for the first time, and storages.

    A tensor that a state dict holds is among them where something else holds it, too.
    """
    counts: dict[int, int] = {}
    for state_dict in known:
        for tensor in state_dict.tensors.values():
            counts[id(tensor)] = counts.get(id(tensor), 0) + 1
    elsewhere: list[TensorRecord | StorageRecord] = []
    for record in references(root):
        if counts.get(id(record), 0):
            counts[id(record)] -= 1
        else:
            elsewhere.append(record)
    return elsewhere


def information(root: object) -> dict[str, Plain]:
    """Return what a saved object says beside tensors and optimizer state, as plain values of bounded size."""
    if isinstance(root, Placeholder):
        root = root.items
    if not isinstance(root, dict):
        return {}
    budget = [_MAX_VALUES]
    plain: dict[str, Plain] = {}
    for key, value in root.items():
        if budget[0] > 0 and isinstance(key, str) and not _is_optimizer(key) and not _is_tensor_data(value):
            plain[key] = _plain(value, _MAX_DEPTH, budget)
    return plain


def has_optimizer(root: object) -> bool:
    """Say whether a saved object has an optimizer's state at its top level."""
    if isinstance(root, Placeholder):
        root = root.items
    if isinstance(root, (list, tuple)):
        # [state dict, optimizer]
        return any(isinstance(each, dict) and each.keys() >= _OPTIMIZER for each in root[:_MAX_DEPTH])
    return isinstance(root, dict) and any(
        isinstance(key, str) and _is_optimizer(key) and not isinstance(value, TensorRecord)
        for key, value in root.items()
    )


def _is_tensor_data(value: object) -> bool:
    if isinstance(value, dict):
        return any(isinstance(item, TensorRecord) for item in islice(value.values(), _MAX_VALUES))
    return isinstance(value, TensorRecord)


def _is_optimizer(key: str) -> bool:
    return key.lower().startswith("optim")


def _mappings_with_tensors(root: object) -> Iterator[StateDict]:
    """Yield them level by level, each mapping once: one that refers to itself, or many to one, would never end."""
    waiting: deque[_Place] = deque([_Place((), root, numbered=False)])
    seen: set[int] = set()
    mappings = 0
    without: set[int] = set()
    while waiting:
        path, value, numbered = waiting.popleft()
        if not _may_hold(value) or id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Placeholder):
            tensors = state_dict_of(value)
            if tensors:
                yield StateDict(path, tensors)
            continue
        mappings += isinstance(value, dict)
        if mappings > _MAX_MAPPINGS or len(path) > _DEEPEST:
            if not leads_to_tensor(value, without):
                continue
            raise PickleError(
                tr(
                    "holds more than {most} dictionaries, or some more than {deepest} deep",
                    most=_MAX_MAPPINGS,
                    deepest=_DEEPEST,
                )
            )
        if not isinstance(value, dict):
            # A list may hold one thing a million times, and a million numbers.
            inside: dict[int, tuple[int, object]] = {}
            for number, item in enumerate(cast("list[object] | tuple[object, ...]", value)):
                if _may_hold(item) and id(item) not in seen:
                    inside.setdefault(id(item), (number, item))
            waiting.extend(_Place((*path, f"[{number}]"), item, numbered=True) for number, item in inside.values())
            continue
        tensors = {}
        others: list[tuple[object, object]] = []
        for key, item in value.items():
            if type(item) is TensorRecord and type(key) is str:
                tensors[key] = item
            else:
                others.append((key, item))
        # What is counted through holds a model only under modules' names; optimizers hold tensors for each number.
        has_modules = any("." in name for name in tensors)
        if tensors and (has_modules or not numbered):
            _refuse_unread(path, others)
            yield StateDict(path, tensors)
        unnamed = [key for key, _ in others if not isinstance(key, str)]
        if (
            any(isinstance(key, OtherKey) for key in unnamed)
            and may_be_equal(unnamed)
            and leads_to_tensor(value, without)
        ):
            raise PickleError(_at(path, save_again(tr("holds two keys that may be one: the later replaces the other"))))
        for position, (key, item) in enumerate(others):
            if isinstance(key, OtherKey) and key.is_calculated and leads_to_tensor(value, without):
                raise PickleError(_at(path, save_again(tr("holds a key that is calculated: it may replace another"))))
            if not _may_hold(item):
                continue
            if not isinstance(key, str):
                waiting.append(_Place((*path, f"[{_shown_key(key, position)}]"), item, numbered=True))
            elif not _is_optimizer(key):
                if len(key) > _LONGEST_KEY and leads_to_tensor(item, without):
                    raise PickleError(
                        _at(path, save_again(tr("holds tensors under a name of {length} characters", length=len(key))))
                    )
                waiting.append(_Place((*path, key), item, numbered))


def _may_hold(value: object) -> bool:
    """Say whether state dicts may be in a value, or it is one."""
    return isinstance(value, (dict, list, tuple)) or is_module(value)


def _shown_key(key: object, position: int) -> str:
    """Return what a key that is not text is called: the number it is, or where it stands."""
    return str(key) if isinstance(key, int) and not isinstance(key, bool) else f"key {position}"


def _refuse_unread(path: tuple[str, ...], others: list[tuple[object, object]]) -> None:
    """Raise PickleError when a mapping of tensors holds something that may be a tensor, too, and cannot be read."""
    for key, item in others:
        if isinstance(item, Placeholder):
            callee = item.callee
            if is_module(item):
                continue
            if isinstance(callee, Global) and (callee.module, callee.name) in NO_TENSOR:
                continue
        elif isinstance(item, Global):
            if item.module == "torch" and item.name in ITEM_SIZE:
                continue
            callee = item
        else:
            continue
        name = sanitize_name(key) if isinstance(key, str) else tr("a key that is not text")
        raise PickleError(
            _at(
                path,
                save_again(
                    tr("holds {name}, which is {kind} and may be a tensor", name=name, kind=_shown_name(callee))
                ),
            )
        )


def _at(path: tuple[str, ...], reason: str) -> str:
    return tr("{name}: {text}", name=sanitize_name(".".join(path)), text=reason) if path else reason


def _shown_name(callee: object) -> str:
    return sanitize_name(str(callee)) if isinstance(callee, Global) else tr("made by a call")


def _preference(state_dict: StateDict) -> tuple[int, bool, int, int]:
    path = state_dict.path
    # A known name inside an unknown one says little: `discriminator.model` and `teacher.model` are no generator.
    rank = max((KNOWN.index(name) if name in KNOWN else len(KNOWN) for name in path), default=len(KNOWN))
    return rank, bool(second_hand(path)), len(path), -len(state_dict.tensors)


def _plain(value: object, depth: int, budget: list[int]) -> Plain:
    budget[0] -= 1
    if budget[0] < 0:
        return "..."
    if value is None:
        return None
    # Numbers that can be printed and written as JSON: not infinite, and not of thousands of digits.
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if isinstance(value, int):
        return value if value.bit_length() <= _WIDEST_INTEGER else f"<integer of {value.bit_length()} bits>"
    if isinstance(value, str):
        return value[:_LONGEST_TEXT]
    if isinstance(value, Global):
        return _class_name(value)
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, Placeholder) and depth:
        return _plain_object(value, depth, budget)
    if isinstance(value, (list, tuple)) and depth:
        return [_plain(item, depth - 1, budget) for item in value[: budget[0] + 1]]
    if isinstance(value, dict) and depth:
        plain: dict[str, Plain] = {}
        for key, item in islice(value.items(), budget[0] + 1):
            if not isinstance(item, TensorRecord):
                plain[str(key)[:_LONGEST_TEXT]] = _plain(item, depth - 1, budget)
        return plain
    return "..."


def _class_name(value: Global) -> str:
    return f"<{value.module[:_LONGEST_TEXT]}.{value.name[:_LONGEST_TEXT]}>"


def _plain_object(value: Placeholder, depth: int, budget: list[int]) -> Plain:
    """Return an object's attributes or its items, for a path the path, else only its class."""
    if value.items:
        return _plain(value.items, depth, budget)
    if isinstance(value.state, dict):
        return _plain(value.state, depth, budget)
    if not isinstance(value.callee, Global):
        return "<object>"
    if value.callee.module.partition(".")[0] == "pathlib":
        parts = [part[:_LONGEST_KEY] for part in value.args[:_LONGEST_KEY] if isinstance(part, str)]
        # The first part of an absolute path ends with its own separator.
        return "/".join(parts).replace("//", "/", 1)[:_LONGEST_TEXT]
    return _class_name(value.callee)
