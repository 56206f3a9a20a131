"""The VQ encoder of one checkpoint: which stored tensors play which role."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from vqcheck.codebook.family import Family, Role
from vqcheck.quick_dataclass import quick_dataclass
from vqcheck.word_enum import WordEnum

if TYPE_CHECKING:
    from vqcheck.checkpoint.stored_tensor import StoredTensor

Place = tuple[int, int, int, str, str]
"""Book, group, layer, role and part."""
BookPlace = tuple[int, int, int]
"""Book, group and layer."""


class InFront(WordEnum):
    """What is known of the layers in front of a codebook."""

    STORED = "stored"
    """Also where there are none."""
    ABSENT = "not stored"
    UNKNOWN = "unknown"


class HasRole(Protocol):
    """A tensor of which book and role are known, in a file or in memory."""

    @property
    def role(self) -> str: ...
    @property
    def book(self) -> int: ...


@quick_dataclass(frozen=True)
class PlaceNames:
    """What the places of a VQ encoder are called, in files and in memory: by what tells them apart, and no more."""

    books: tuple[str, ...]
    """What the family or the model calls its quantizers."""
    several: tuple[bool, bool, bool]
    """Whether there are several books, groups and layers to tell apart."""

    @classmethod
    def of(cls, places: Iterable[BookPlace], books: tuple[str, ...]) -> PlaceNames:
        """Return the names of these places."""
        found = list(places)
        book, group, layer = ({place[axis] for place in found} for axis in range(3))
        return cls(books, (len(book) > 1, len(group) > 1, len(layer - {-1}) > 1))

    def where(self, place: BookPlace) -> str:
        """Return what tells this place from the others, such as `acoustic.3`; empty when there is but one."""
        book, group, layer = place
        parts = [self.book(book)] if self.book(book) else []
        if self.several[1]:
            parts.append(str(group))
        if layer >= 0 and self.several[2]:
            parts.append(str(layer))
        return ".".join(parts)

    def book(self, number: int) -> str:
        """Return what the family or the model calls a quantizer; empty when it is the only one."""
        if not self.several[0]:
            return ""
        return (self.books[number] if number < len(self.books) else "") or str(number)

    def label(self, place: BookPlace, role: str, part: str) -> str:
        """Return a short name such as `codes`, `input_proj.weight` or, with several codebooks, `acoustic.3 codes`."""
        where, name = self.where(place), f"{role}.{part}" if part else role
        return f"{where} {name}" if where else name


@quick_dataclass(frozen=True)
class RoleTensor:
    """A stored tensor and the part it plays."""

    role: Role
    part: str
    book: int
    group: int
    layer: int
    """-1 for a projection that stands in front of all layers."""
    tensor: StoredTensor
    """Read in the order of the canonical axes, also where the file has another."""
    shape: tuple[int, ...]
    """Canonical shape: codes and sums `[heads, codes, dim]`, counts `[heads, codes]`, the flag `[]`."""
    token_relevant: bool = True
    """Whether a lookup depends on it; bookkeeping decides no token, and an output projection only some."""

    @property
    def place(self) -> Place:
        """What identifies the tensor in any file of any spelling."""
        return self.book, self.group, self.layer, self.role, self.part

    @property
    def name_of_part(self) -> str:
        """The role, and the part of it where the role has several tensors, such as `input_proj.weight`."""
        return f"{self.role}.{self.part}" if self.part else self.role


@quick_dataclass(frozen=True)
class Codebook:
    """The tensors of one codebook."""

    tensors: tuple[RoleTensor, ...]
    tied: tuple[BookPlace, ...] = ()
    """Further places at which the file has this codebook, stored once."""

    @property
    def codes(self) -> RoleTensor:
        """The tensor that the vectors of the lookup are, or are calculated from: `[heads, codes, dim]`."""
        return self.of_role(Role.CODES) or next(tensor for tensor in self.tensors if tensor.role == Role.EMA_SUM)

    @property
    def place(self) -> BookPlace:
        return self.codes.place[:3]

    def of_role(self, role: str) -> RoleTensor | None:
        """Return the (first) tensor that plays this role, if the file has it."""
        return next((tensor for tensor in self.tensors if tensor.role == role), None)


@dataclass(frozen=True)
class VQEncoder:
    """Everything that turns features into tokens: projection and codebooks, in the family's order."""

    family: Family
    prefix: str
    """What stands in front of every name, such as `module.`; empty when there is nothing."""
    codebooks: tuple[Codebook, ...]
    """Empty where the codes are a fixed grid of which nothing is stored."""
    projection: tuple[RoleTensor, ...]
    is_lora: bool
    """The file holds LoRA's tensors: it is an export, which may lack what stays in its base, or a training file."""
    books: tuple[str, ...] = ("",)
    """Names of the quantizers."""
    is_shadow: bool = False
    """A moving average of the whole model, not the model in use."""
    also_found: tuple[str, ...] = ()
    """Further VQ encoders in the same file, which are not judged: their prefixes, or titles where there is none."""

    unplaced: str = ""
    """A module beside the codebook of which nobody knows whether features pass it on their way to a lookup."""

    _names: PlaceNames = field(init=False, repr=False, compare=False)
    """Asked for each tensor, so made once."""

    def __post_init__(self) -> None:
        places = [codebook.place for codebook in self.codebooks]
        places += [tied for codebook in self.codebooks for tied in codebook.tied]
        places += [tensor.place[:3] for tensor in self.projection]
        object.__setattr__(self, "_names", PlaceNames.of(places, self.books))

    @property
    def tensors(self) -> Iterator[RoleTensor]:
        """Every tensor, codebooks first."""
        for codebook in self.codebooks:
            yield from codebook.tensors
        yield from self.projection

    def by_place(self) -> dict[Place, RoleTensor]:
        """Return every tensor by its place, a tied one at each of its places."""
        places = {tensor.place: tensor for tensor in self.tensors}
        for codebook in self.codebooks:
            for place in codebook.tied:
                places |= {(*place, tensor.role, tensor.part): tensor for tensor in codebook.tensors}
        return places

    def label(self, tensor: RoleTensor, place: Place | None = None) -> str:
        """Return a short name such as `codes`, `input_proj.weight` or, with several codebooks, `acoustic.3 codes`.

        `place` is where a tied tensor is meant, if not at its first place.
        """
        return self._names.label((place or tensor.place)[:3], tensor.role, tensor.part)

    def where(self, place: BookPlace) -> str:
        """Return what tells this place from the others, such as `acoustic.3`; empty when there is but one."""
        return self._names.where(place)

    def name_of_book(self, book: int) -> str:
        """Return what the family or the model calls a quantizer; empty when it is the only one."""
        return self._names.book(book)

    @property
    def in_front(self) -> InFront:
        if self.family.structural:
            return InFront.UNKNOWN
        if lacks_projection(self.family, self.tensors):
            return InFront.ABSENT
        return InFront.UNKNOWN if self.unplaced else InFront.STORED

    def lookup_at(self, where: str) -> BookPlace | None:
        """Return the place that `where` gives these words for, or None where the encoder has nothing there."""
        return next((tensor.place[:3] for tensor in self.tensors if self.where(tensor.place[:3]) == where), None)


def lacks_projection(family: Family, tensors: Iterable[HasRole]) -> bool:
    """Say whether features pass a projection in front of some codebook that is not among these tensors."""
    books: dict[int, set[str]] = {}
    for tensor in tensors:
        books.setdefault(tensor.book, set()).add(tensor.role)
    return family.projects and any(Role.INPUT_PROJ not in roles for roles in books.values())


def is_lora(names: Iterable[str]) -> bool:
    """Say whether tensors of these names are of LoRA training: of an export, or of its training file."""
    return any(".lora_A." in name for name in names)
