"""What a copy of a VQ encoder is called in its file, and which copies of two files belong together by that."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vqcheck.checkpoint.second_hand import second_hand
from vqcheck.codebook.wrappers import WRAPPERS


@dataclass(frozen=True, slots=True)
class CopyName:
    """Where in a file a copy is."""

    keys: tuple[str, ...]
    """What leads to its state dict; empty when the saved object itself is it."""
    prefix: str
    """What stands in front of every tensor's name, such as `ema_model.`; empty when there is nothing."""

    def __str__(self) -> str:
        """Return it as users name it; a dot alone is the top of the file."""
        return ".".join(filter(None, (*self.keys, self.prefix.rstrip(".")))) or "."

    @property
    def second_hand(self) -> frozenset[str]:
        """Words that say that this is not the model in use, but an average or another time's."""
        return second_hand(self._components)

    @property
    def unwrapped(self) -> tuple[str, ...]:
        return tuple(part for part in self._components if part not in WRAPPERS)

    @property
    def _components(self) -> tuple[str, ...]:
        return (*self.keys, *filter(None, self.prefix.split(".")))


@dataclass(frozen=True, slots=True)
class Labelled:
    """A copy as far as pairing goes."""

    family: str
    names: tuple[CopyName, ...]
    """Several where the same bytes of the file stand under several names; none where its file holds no other copy."""
    has_codebook: bool = True
    """False where nothing but projections is stored: of an average of parameters, or of codes that are a grid."""

    @property
    def is_second_hand(self) -> bool:
        return bool(self.names) and all(name.second_hand for name in self.names)

    @property
    def words(self) -> frozenset[str]:
        return frozenset(word for name in self.names for word in name.second_hand)


@dataclass(frozen=True, slots=True)
class Partners:
    """A copy of A and the copy of B that answers to it, by position."""

    a: int
    b: int
    guessed: bool = False
    """Whether other copies could as well belong together: neither name nor kind says it."""


def pair_up(a: Sequence[Labelled], b: Sequence[Labelled]) -> list[Partners]:
    """Return which copies of two files belong together, in A's order.

    Copies of one codec belong together that have the same name; where none has, the one that each file has, or the
    one that is the model in use.
    """
    kinds = dict.fromkeys((each.family, each.has_codebook) for each in a)
    found = [pair for kind in kinds for pair in _of_family(_Side(a, *kind), _Side(b, *kind))]
    return sorted(found, key=lambda pair: pair.a)


class _Side:
    """One file's copies of one codec, and which have no partner yet."""

    def __init__(self, copies: Sequence[Labelled], family: str, has_codebook: bool) -> None:
        kind = family, has_codebook
        self.all = {number: copy for number, copy in enumerate(copies) if (copy.family, copy.has_codebook) == kind}
        self.left = dict(self.all)

    def by(self, *, exact: bool) -> dict[object, int]:
        """Return the copies by what they are called, exactly or without wrappers."""
        copies = self.all if exact else self.left
        return {
            name if exact else name.unwrapped: number
            for number, copy in reversed(copies.items())
            for name in reversed(copy.names)
        }

    def candidates(self) -> list[int]:
        """Return those in use; where none is, all."""
        return [number for number, copy in self.left.items() if not copy.is_second_hand] or [*self.left]


def _of_family(a: _Side, b: _Side) -> Iterator[Partners]:
    paired: set[tuple[int, int]] = set()
    for exact in (True, False):
        theirs = b.by(exact=exact)
        for name, one in reversed(a.by(exact=exact).items()):
            other = theirs.get(name)
            if other is None or (one, other) in paired:
                continue
            # A copy of several names answers to each of them.
            if (one in a.left and other in b.left) or (exact and (one in a.left or other in b.left)):
                paired.add((one, other))
                yield _take(a, b, one, other)
    if not a.left or not b.left:
        return
    if not paired:
        ours, others = a.candidates(), b.candidates()
        yield _take(a, b, ours[0], others[0], guessed=len(ours) > 1 or len(others) > 1)
    if len(a.left) == len(b.left) == 1:
        (one, mine), (other, yours) = *a.left.items(), *b.left.items()
        if mine.words & yours.words:
            yield _take(a, b, one, other)


def _take(a: _Side, b: _Side, one: int, other: int, *, guessed: bool = False) -> Partners:
    a.left.pop(one, None)
    b.left.pop(other, None)
    return Partners(one, other, guessed)
