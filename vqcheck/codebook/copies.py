"""The copies of a VQ encoder that one file holds: raw and averaged weights, the best state, several codecs."""

from dataclasses import dataclass

from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook.copy_name import CopyName, Labelled
from vqcheck.codebook.vq_encoder import VQEncoder
from vqcheck.errors import CheckpointError, UsageError


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A copy that is there, but cannot be read."""

    name: CopyName
    why: str
    """The error as it would be raised."""


@dataclass(frozen=True, slots=True)
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
            raise CheckpointError(chosen.unreadable[0].why)
        if not chosen.sound:
            raise UsageError(f"{self.path}: holds no copy named '{wanted}'; it holds {', '.join(self.names)}")
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
            f"no copy is named '{name}'; {a.path} holds {', '.join(a.names)}, {b.path} holds {', '.join(b.names)}"
        )
    one, other = (
        copies if len(copies.names) == 1 and not copies.holds(name) else copies.choose(name) for copies in (a, b)
    )
    return one, other
