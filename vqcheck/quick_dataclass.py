"""Data classes that are quick to define, for the modules that every run imports.

`vqcheck diff` of two equal files takes a tenth of a second and defines forty data classes; the standard library
compiles six methods for each, which takes a sixth of that time. Here all classes share their methods but `__init__`.
"""

import copy
import dataclasses
from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any

__all__ = ["quick_dataclass"]

if TYPE_CHECKING:
    from dataclasses import dataclass as quick_dataclass
else:

    def quick_dataclass(*, frozen=False, slots=False, eq=True, repr=True):  # noqa: A002, ANN001, ANN201
        """Return a decorator that does what `dataclasses.dataclass` does, for plain classes without a base.

        Defaults are values; `dataclasses.field`, `__post_init__` and subclasses are left to the standard library. What
        it has for instances (`replace`, `fields`, `asdict`) works here, too.
        """
        return lambda cls: _define(cls, frozen=frozen, slots=slots, eq=eq, repr_=repr)


def _define(cls: Any, *, frozen: bool, slots: bool, eq: bool, repr_: bool) -> Any:
    fields = {name: vars(cls)[name] for name in cls.__annotations__ if name in vars(cls)}
    annotations = dict(cls.__annotations__)
    names = tuple(annotations)
    if slots:
        body = {name: value for name, value in vars(cls).items() if name not in (*fields, "__dict__", "__weakref__")}
        made = type(cls)(cls.__name__, cls.__bases__, {**body, "__slots__": names})
        made.__qualname__ = cls.__qualname__
        cls = made
    # attrgetter gives a value, not a tuple, where it is asked for one.
    values: Callable[[Any], Any] = attrgetter(*names) if names else lambda _: ()
    shared: dict[str, Any] = {
        "__match_args__": names,
        "__dataclass_fields__": _Fields(annotations, fields),
    }
    if repr_:
        shared["__repr__"] = lambda self: (
            f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"
        )
    if eq:
        shared["__eq__"] = lambda self, other: (
            values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented
        )
        shared["__hash__"] = (lambda self: hash(values(self))) if frozen else None
    if frozen:
        shared |= {"__setattr__": _refuse, "__delattr__": _refuse}
    if slots:
        shared |= {
            "__getstate__": lambda self: [getattr(self, name) for name in names],
            "__setstate__": lambda self, state: _set_all(self, names, state),
        }
    for name, value in shared.items():
        if name not in vars(cls) or name == "__hash__":
            setattr(cls, name, value)
    # Not for the first instance, which may be made while a file is read: nothing is compiled then.
    cls.__init__ = _init(cls, names, fields, frozen=frozen, slots=slots)
    return cls


def _init(cls: Any, names: tuple[str, ...], defaults: dict[str, Any], *, frozen: bool, slots: bool) -> Any:
    """Return the `__init__` of a class, which sets each attribute."""
    known: dict[str, Any] = {f"default_{name}": value for name, value in defaults.items()}
    known |= {f"set_{name}": vars(cls)[name].__set__ for name in names if slots}
    known["set_attribute"] = object.__setattr__
    if slots:
        lines = [f"set_{name}(self, {name})" for name in names]
    elif frozen:
        lines = [f"set_attribute(self, {name!r}, {name})" for name in names]
    else:
        lines = [f"self.{name} = {name}" for name in names]
    arguments = ", ".join(f"{name}=default_{name}" if name in defaults else name for name in names)
    exec(f"def __init__(self, {arguments}):\n  " + "\n  ".join(lines or ["pass"]), known)  # noqa: S102 - of names in this program
    known["__init__"].__qualname__ = f"{cls.__qualname__}.__init__"
    return known["__init__"]


def _set_all(self: Any, names: tuple[str, ...], state: list[Any]) -> None:
    for name, value in zip(names, state):  # noqa: B905 - Python 3.9
        object.__setattr__(self, name, value)


def _refuse(self: Any, name: str, *_: Any) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r} of {type(self).__name__}")


@dataclasses.dataclass(init=False, repr=False, eq=False)
class _Pattern:
    field: Any


class _Fields:
    """Stands for the standard library's fields of a class until they are asked for."""

    def __init__(self, annotations: dict[str, Any], defaults: dict[str, Any]) -> None:
        self._annotations, self._defaults = annotations, defaults

    def __get__(self, _: object, owner: Any) -> Any:
        # Copies, because `dataclasses.dataclass` compiles something even for a class without methods (Python 3.13).
        (pattern,) = dataclasses.fields(_Pattern)
        made = {}
        for name, type_ in self._annotations.items():
            made[name] = field = copy.copy(pattern)
            field.name, field.type, field.default = name, type_, self._defaults.get(name, dataclasses.MISSING)
        owner.__dataclass_fields__ = made
        return made
