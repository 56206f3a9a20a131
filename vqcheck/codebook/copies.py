"""The copies of a VQ encoder that one file holds, what they are called, and which copies of two files belong together.

Copies are raw and averaged weights, the best state, or several codecs.
"""

from collections.abc import Iterator, Sequence

from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.checkpoint.second_hand import second_hand
from vqcheck.codebook.tensor_names import WRAPPERS
from vqcheck.codebook.vq_encoder import VQEncoder
from vqcheck.errors import CheckpointError, UsageError
from vqcheck.language import tr
from vqcheck.quick_dataclass import quick_dataclass


@quick_dataclass(frozen=True, slots=True)
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


@quick_dataclass(frozen=True, slots=True)
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


@quick_dataclass(frozen=True, slots=True)
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
    found = [pair for kind in kinds for pair in _of_family(_CopiesOfCodec(a, *kind), _CopiesOfCodec(b, *kind))]
    return sorted(found, key=lambda pair: pair.a)


class _CopiesOfCodec:
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


def _of_family(a: _CopiesOfCodec, b: _CopiesOfCodec) -> Iterator[Partners]:
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


def _take(a: _CopiesOfCodec, b: _CopiesOfCodec, one: int, other: int, *, guessed: bool = False) -> Partners:
    a.left.pop(one, None)
    b.left.pop(other, None)
    return Partners(one, other, guessed)


@quick_dataclass(frozen=True, slots=True)
class Copy:
    """One copy of a VQ encoder in a file."""

    names: tuple[CopyName, ...]
    """The first is what it is called; more where the same bytes stand under several names."""
    file: Checkpoint
    """The file with the state dict alone that holds this copy."""
    encoder: VQEncoder

    @property
    def name(self) -> str:
        return str(self.names[0])

    @property
    def label(self) -> Labelled:
        return Labelled(self.encoder.family.name, self.names, has_codebook=bool(self.encoder.codebooks))


@quick_dataclass(frozen=True, slots=True)
class Unreadable:
    """A copy that is there, but cannot be read."""

    name: CopyName
    error: CheckpointError

    @property
    def why(self) -> str:
        return str(self.error)


@quick_dataclass(frozen=True, slots=True)
class Copies:
    """What copies a file holds."""

    path: str
    sound: tuple[Copy, ...]
    """The one to judge first: the model in use before averages of it, a known codec before an unknown one."""
    unreadable: tuple[Unreadable, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """What the file's copies are called, without repetition."""
        names = [*(str(name) for copy in self.sound for name in copy.names), *(str(u.name) for u in self.unreadable)]
        return tuple(dict.fromkeys(names))

    def holds(self, wanted: str) -> bool:
        """Say whether a copy has this name, or stands in the state dict of this name."""
        found = self._of(wanted)
        return bool(found.sound or found.unreadable)

    def choose(self, wanted: str) -> "Copies":
        """Return what the file holds under a name alone.

        Raises:
            UsageError: there is nothing of that name; the text lists the names.
            CheckpointError: it cannot be read.

        """
        chosen = self._of(wanted)
        if chosen.unreadable:
            raise chosen.unreadable[0].error
        if not chosen.sound:
            raise UsageError(
                tr("holds no copy named '{wanted}'; it holds {names}", wanted=wanted, names=", ".join(self.names)),
                self.path,
            )
        return chosen

    def _of(self, wanted: str) -> "Copies":
        for called in (str, lambda name: ".".join(name.keys), lambda name: name.prefix.rstrip(".")):
            sound = tuple(copy for copy in self.sound if any(called(name) == wanted for name in copy.names))
            unreadable = tuple(each for each in self.unreadable if called(each.name) == wanted)
            if wanted and (sound or unreadable):
                return Copies(self.path, sound, unreadable)
        return Copies(self.path, (), ())


def choose(a: Copies, b: Copies, names: tuple[str, ...]) -> tuple[Copies, Copies]:
    """Return what is chosen of two files: by one name of both, or by one of A and one of B.

    A single name need not be in a file that holds one copy alone.

    Raises:
        UsageError: a file has no copy of that name.
        CheckpointError: it cannot be read.

    """
    if not names:
        return a, b
    if len(names) == 2:
        return a.choose(names[0]), b.choose(names[1])
    (name,) = names
    if not any(copies.holds(name) for copies in (a, b)):
        raise UsageError(
            tr(
                "no copy is named '{name}'; {file} holds {names}, {other} holds {others}",
                name=name,
                file=str(a.path),
                names=", ".join(a.names),
                other=str(b.path),
                others=", ".join(b.names),
            )
        )
    one, other = (
        copies if len(copies.names) == 1 and not copies.holds(name) else copies.choose(name) for copies in (a, b)
    )
    return one, other
