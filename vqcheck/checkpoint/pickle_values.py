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
    is_fixed: bool = False
    """Nothing may be put into it: it may stand for something that the program shares, such as a class."""

    def parts(self) -> tuple[object, ...]:
        """Return everything that was ever handed to it."""
        return self.args, self.state, self.items, self.elements


@dataclass(frozen=True, slots=True, eq=False)
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

    def build(self, target: object, state: object) -> None:
        """Give a state to a value that was made before."""
        if isinstance(target, Placeholder):
            target.state = state

    def reference(self, persistent_id: object) -> object:
        """Return what stands for something that is kept outside the pickle."""
        del persistent_id
        raise PickleError("holds a persistent id outside a checkpoint")


class PlainData(Meaning):
    """The meaning of a pickle that holds numbers and texts alone."""

    def call(self, function: object, args: tuple[object, ...]) -> object:
        del args
        raise PickleError(f"calls {function} where plain data is expected")

    def new(self, kind: object, args: tuple[object, ...], keywords: object = None) -> object:
        del args, keywords
        raise PickleError(f"makes an object of {kind} where plain data is expected")

    def build(self, target: object, state: object) -> None:
        del target, state
        raise PickleError("gives a state to something where plain data is expected")


def dictionary_key(key: object, position: int) -> object:
    """Return what stands for a dictionary key: itself if it is cheap to hash, else a key of its own.

    Hashing a deeply nested tuple would exhaust the C stack, and numbers can be chosen to collide.
    """
    if key is None or isinstance(key, (str, bool)) or (isinstance(key, int) and -(1 << 31) <= key < 1 << 31):
        return key
    return OtherKey(key, position)
