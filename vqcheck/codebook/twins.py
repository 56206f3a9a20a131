"""Tells copies of one model in a state dict from the further quantizers of a codec, from names and shapes alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from vqcheck.checkpoint.second_hand import second_hand
from vqcheck.codebook.found import Match, Shape
from vqcheck.codebook.lookup import AROUND
from vqcheck.codebook.merge import FIRST

_MOST: Final = 16
"""Quantizers of one kind beyond which they are layers of a codec; each is compared with each."""


def copies(same: Sequence[Match], shapes: Mapping[str, Shape]) -> list[list[Match]]:
    """Return the matches of one family, those of each copy of the model together.

    A copy is named as one (`ema`, `teacher`), stands bare beside one in a wrapper (`generator`), or has the whole model
    around it a second time. Everything else that is there several times belongs to one codec.
    """
    named: dict[frozenset[str], list[Match]] = {}
    for match in same:
        named.setdefault(second_hand(match.prefix.split(".")), []).append(match)
    return [copy for alike in named.values() for copy in _by_root(alike, shapes)]


def _by_root(alike: Sequence[Match], shapes: Mapping[str, Shape]) -> list[list[Match]]:
    if not 1 < len(alike) <= _MOST:
        return [[*alike]]
    owned = frozenset(found.name for match in alike for found in match.found)
    twins: set[str] = set()
    for number, one in enumerate(alike):
        for other in alike[number + 1 :]:
            roots = _roots(one, other)
            if roots and _are_copies(*roots, shapes, owned):
                twins.update(roots)
    together: dict[str, list[Match]] = {}
    for match in alike:
        root = max((root for root in twins if match.prefix.startswith(root)), key=len, default="")
        together.setdefault(root, []).append(match)
    return list(together.values())


def _roots(one: Match, other: Match) -> tuple[str, str] | None:
    """Return what both prefixes begin with up to the last component that differs; None where the layouts differ."""
    if [found._replace(name=found.name[len(one.prefix) :]) for found in one.found] != [
        found._replace(name=found.name[len(other.prefix) :]) for found in other.found
    ]:
        return None
    a, b = one.prefix.split(".")[:-1], other.prefix.split(".")[:-1]
    while a and b and a[-1] == b[-1]:
        a, b = a[:-1], b[:-1]
    return "".join(f"{part}." for part in a), "".join(f"{part}." for part in b)


def _are_copies(a: str, b: str, shapes: Mapping[str, Shape], owned: frozenset[str]) -> bool:
    parts_a, parts_b = a.split(".")[:-1], b.split(".")[:-1]
    while parts_a and parts_b and parts_a[0] == parts_b[0]:
        parts_a, parts_b = parts_a[1:], parts_b[1:]
    apart = [*parts_a, *parts_b]
    if any(part.isdecimal() for part in apart) or any(word in part for part in apart for word in FIRST):
        return False
    if AROUND.issuperset(apart):
        return True
    below_a, below_b = _below(a, b, shapes), _below(b, a, shapes)
    return below_a == below_b and len(below_a) > sum(name.startswith(b) for name in owned)


def _below(root: str, other: str, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """Return what stands below a root, by its name there; a root inside it is left out."""
    inside = other if other.startswith(root) else None
    return {
        name[len(root) :]: shape
        for name, shape in shapes.items()
        if name.startswith(root) and not (inside and name.startswith(inside))
    }
