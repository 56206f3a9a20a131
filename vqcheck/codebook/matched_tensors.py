"""What matching finds: named tensors with their roles, which of them decide tokens, and the VQ encoders they make up.

Codes, what transforms them, the init flag and input projections always decide tokens, running sums and counts never. An
output projection does where a later lookup takes what is left of the features once its result is taken off.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cache
from typing import Final, NamedTuple

from vqcheck.checkpoint.second_hand import second_hand
from vqcheck.codebook.canonical_shape import MisshapenError
from vqcheck.codebook.family import ANYTHING, BOOKKEEPING, Family, ResidualChain, Role
from vqcheck.codebook.vq_encoder import BookPlace

SHADOWS: Final = frozenset({"ema_model", "model_ema", "ema"})
"""Wrappers around a moving average of the whole model: another codebook than the one in use."""

_ROLES: Final = tuple(Role)
_PARTS: Final = ("", "weight", "g", "v", "bias")

Shape = tuple[int, ...]


class Found(NamedTuple):
    """A named tensor and the part it plays in a VQ encoder."""

    name: str
    role: Role
    part: str
    book: int
    group: int
    layer: int
    shape: Shape
    """Canonical shape, see `canonical_shape`."""
    axes: Shape
    """Which stored axis each axis of the canonical shape is, where that is not the order in the file."""
    token_relevant: bool
    """Whether a lookup depends on it, see `token_relevant`."""

    @property
    def order(self) -> tuple[int, int, int, int, int, str]:
        """Where the tensor comes in listings and digests."""
        rank = _PARTS.index(self.part) if self.part in _PARTS else len(_PARTS)
        return self.book, self.group, self.layer, _ROLES.index(self.role), rank, self.part


class Match(NamedTuple):
    """The tensors of one VQ encoder, in order."""

    family: Family
    prefix: str
    """What stands in front of every name; empty when there is nothing."""
    books: tuple[str, ...]
    """Names of the quantizers; those of the row, or what stands in front where the model has several."""
    found: tuple[Found, ...]
    unplaced: str = ""
    """A module beside the codebook of which nobody knows whether features pass it on their way to a lookup."""

    @property
    def is_shadow(self) -> bool:
        return not SHADOWS.isdisjoint(self.prefix.split("."))

    @property
    def is_second_hand(self) -> bool:
        return bool(second_hand(self.prefix.split(".")))


class Matches(NamedTuple):
    """Every VQ encoder among some named tensors."""

    sound: tuple[Match, ...]
    """The one to judge first."""
    misshapen: tuple[MisshapenError, ...]
    """What is wrong with others, under whose names tensors of impossible shapes stand."""


def mark(found: Iterable[Found], residual: str) -> tuple[Found, ...]:
    """Return the tensors of one VQ encoder with `token_relevant` as a chain of residuals makes it.

    What was relevant before stays so: an output projection that is fed back to its own codebook.
    """
    tensors = tuple(found)
    lookups = {_lookup(each) for each in tensors}
    return tuple(each._replace(token_relevant=_is_relevant(each, residual, lookups)) for each in tensors)


def _is_relevant(found: Found, residual: str, lookups: set[BookPlace]) -> bool:
    if found.role in BOOKKEEPING:
        return False
    if found.role != Role.OUTPUT_PROJ or found.token_relevant:
        return True
    return feeds_a_lookup((found.book, found.group, found.layer), lookups, residual)


def feeds_a_lookup(place: BookPlace, lookups: Iterable[BookPlace], residual: str) -> bool:
    """Say whether a later lookup takes what an output projection leaves; one of layer -1 stands behind all layers."""
    return any(_is_after(lookup, place, residual) for lookup in lookups)


def _lookup(found: Found) -> BookPlace:
    """Return the lookup that a tensor belongs to; one for all layers belongs to any of them, so to the first."""
    return found.book, found.group, max(found.layer, 0)


def _is_after(lookup: BookPlace, place: BookPlace, residual: str) -> bool:
    if lookup[:2] == place[:2]:
        return (
            residual in (ResidualChain.LAYERS, ResidualChain.GROUPS, ResidualChain.BOOKS) and lookup[2] > place[2] >= 0
        )
    if lookup[0] == place[0]:
        return residual in (ResidualChain.GROUPS, ResidualChain.BOOKS) and lookup[1] > place[1]
    return residual == ResidualChain.BOOKS and lookup[0] > place[0]


def with_unplaced(matches: Sequence[Match], names: Iterable[str]) -> list[Match]:
    """Return the matches, each with the first module beside its codebook that its family does not place.

    Features come from an encoder under the codebook's prefix, or, where there is none, from anywhere in the model.
    """
    taken = {each.name for one in matches for each in one.found}
    left = sorted(name for name in names if name not in taken)
    prefixes = {one.prefix for one in matches}
    copy_of = cache(lambda name: second_hand(name.split(".")))
    return [one._replace(unplaced=_unplaced(one, left, prefixes, copy_of)) for one in matches]


def _unplaced(
    one: Match, left: Sequence[str], prefixes: Collection[str], copy_of: Callable[[str], frozenset[str]]
) -> str:
    if ANYTHING in one.family.encoders or one.family.structural:
        return ""
    # "." < "/": the names below a module lie between its name with the one and with the other.
    inside = left[bisect_left(left, one.prefix) : bisect_left(left, f"{one.prefix[:-1]}/") if one.prefix else None]
    encoders = tuple(f"{one.prefix}{module}." for module in one.family.encoders)
    known = (*encoders, *(f"{one.prefix}{module}." for module in one.family.behind))
    has_encoder = bool(encoders) and any(name.startswith(encoders) for name in inside)
    this_copy = second_hand(one.prefix.split("."))
    for name in inside if has_encoder else left:
        if copy_of(name) != this_copy or f"{name}.".startswith(known):
            continue
        if not _is_of_another(name, one.prefix, prefixes):
            return name.rpartition(".")[0] or name
    return ""


def _is_of_another(name: str, prefix: str, prefixes: Collection[str]) -> bool:
    """Say whether a tensor is of another codec that lies inside this one."""
    if not name.startswith(prefix):
        return False
    parts = name.split(".")
    inner = ("".join(f"{part}." for part in parts[:length]) for length in range(prefix.count(".") + 1, len(parts)))
    return any(each in prefixes for each in inner)
