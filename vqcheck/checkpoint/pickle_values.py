"""What a pickle's contents become: names, inert placeholders, keys that are safe to hash, and what is wrong with it."""

from dataclasses import dataclass, field


class PickleError(ValueError):
    """A pickle that is damaged, oversized, or uses what a checkpoint's index has no use for."""


class TruncatedPickleError(PickleError):
    """The bytes end before the pickle does."""


@dataclass(frozen=True, slots=True)
class Global:
    """A class or function named by a pickle; only its name."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(slots=True, eq=False)
class Placeholder:
    """What a call in a pickle would have returned: the callee's name, its arguments and what was put into it."""

    callee: object
    args: tuple[object, ...]
    state: object = None
    items: dict[object, object] = field(default_factory=dict)
    elements: list[object] = field(default_factory=list)


def inert(function: Global, args: tuple[object, ...]) -> object:
    """Return a placeholder for a call: the default meaning of every call in a pickle."""
    return Placeholder(function, args)


def scalar_key(key: object, position: int) -> str | int | bool | None:
    """Return what stands for a dictionary key: itself if it is cheap to hash, else a text.

    Hashing a deeply nested tuple would exhaust the C stack, and numbers can be chosen to collide.
    """
    if key is None or isinstance(key, (str, bool)) or (isinstance(key, int) and -(1 << 31) <= key < 1 << 31):
        return key
    if isinstance(key, (int, float)):
        return str(key)
    return f"<{type(key).__name__} {position}>"
