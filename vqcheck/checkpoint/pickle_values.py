"""What a pickle's contents become: names, inert placeholders, keys that are safe to hash, and what is wrong with it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from vqcheck.errors import WrongValueError
from vqcheck.language import tr
from vqcheck.quick_dataclass import quick_dataclass

_DEEPEST_KEY: Final = 3
_MOST_PARTS: Final = 16
_LONGEST_PART: Final = 256
"""Characters or bytes. Keys beyond these are not compared: one part may stand in a key a million times."""


class PickleError(WrongValueError):
    """A pickle that is damaged, oversized, or uses what a checkpoint's index has no use for."""


class TruncatedPickleError(PickleError):
    """The bytes end before the pickle does."""


@quick_dataclass(frozen=True, slots=True)
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
    is_fixed: bool = False
    """Nothing may be put into it: it may stand for something that the program shares, such as a class."""

    def parts(self) -> tuple[object, ...]:
        """Return everything that was ever handed to it."""
        return self.args, self.state, self.items, self.elements


@quick_dataclass(frozen=True, slots=True, eq=False)
class OtherKey:
    """A dictionary key that is not text and costly to hash; each is a key of its own."""

    value: object
    position: int

    @property
    def is_calculated(self) -> bool:
        """Whether Python might find a text here, and so another key than a reader who does not calculate it."""
        return isinstance(self.value, (Placeholder, Global))

    def __str__(self) -> str:
        if isinstance(self.value, (int, float)):
            return str(self.value)
        return f"<{type(self.value).__name__} {self.position}>"


class Meaning:
    """What calls, objects and references in a pickle stand for: by default names, of which nothing is carried out."""

    def call(self, function: object, args: tuple[object, ...]) -> object:
        """Return what stands for the result of a call."""
        return Placeholder(function, args)

    def new(self, kind: object, args: tuple[object, ...], keywords: object = None) -> object:
        """Return what stands for an object that is made without its class's initialiser."""
        return Placeholder(kind, args, state=keywords)

    def build(self, target: object, state: object) -> object:
        """Return what stands for a value that was made before, given its state."""
        if isinstance(target, Placeholder):
            target.state = state
        return target

    def reference(self, persistent_id: object) -> object:
        """Return what stands for something that is kept outside the pickle."""
        del persistent_id
        raise PickleError(tr("holds a persistent id outside a checkpoint"))


class PlainData(Meaning):
    """The meaning of a pickle that holds numbers and texts alone."""

    def call(self, function: object, args: tuple[object, ...]) -> object:
        del args
        raise PickleError(tr("calls {function} where plain data is expected", function=str(function)))

    def new(self, kind: object, args: tuple[object, ...], keywords: object = None) -> object:
        del args, keywords
        raise PickleError(tr("makes an object of {kind} where plain data is expected", kind=str(kind)))

    def build(self, target: object, state: object) -> object:
        del target, state
        raise PickleError(tr("gives a state to something where plain data is expected"))


def dictionary_key(key: object, position: int) -> object:
    """Return what stands for a dictionary key: itself if it is cheap to hash, else a key of its own.

    Hashing a deeply nested tuple would exhaust the C stack, and numbers can be chosen to collide.
    """
    if key is None or isinstance(key, (str, bool)) or (isinstance(key, int) and -(1 << 31) <= key < 1 << 31):
        return key
    return OtherKey(key, position)


def may_be_equal(keys: Iterable[object]) -> bool:
    """Say whether Python may take two keys of one dictionary, none of them a text, for the same.

    `True`, `1` and `1.0` are one key to Python, and the value that was set last is the one that counts.
    """
    spelled: set[str] = set()
    unknown = False
    for key in keys:
        spelling = _spelled(key.value if isinstance(key, OtherKey) else key)
        if spelling is None:
            if unknown:
                return True
            unknown = True
        elif spelling in spelled:
            return True
        else:
            spelled.add(spelling)
    return False


def _spelled(value: object, depth: int = 0) -> str | None:
    """Return a text that equal keys share and no other has; None where that cannot be said."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int):
        return hex(value) if value.bit_length() <= 8 * _LONGEST_PART else None
    if isinstance(value, float):
        return None if math.isnan(value) else value.hex()
    if value is None or (isinstance(value, (str, bytes)) and len(value) <= _LONGEST_PART):
        return repr(value)
    if not isinstance(value, tuple) or depth == _DEEPEST_KEY or len(value) > _MOST_PARTS:
        return None
    parts = [_spelled(part, depth + 1) for part in value]
    return None if None in parts else f"({','.join(map(str, parts))})"
