"""What a codec means that a model holds more than once: copies of the model, or further quantizers of one codec.

From names and shapes alone; several quantizers are merged into one VQ encoder, as for semantics and acoustics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from vqcheck.checkpoint.second_hand import second_hand
from vqcheck.codebook.family import CODEBOOK_ROLES, ResidualChain, Role
from vqcheck.codebook.matched_tensors import Found, Match, Shape, mark
from vqcheck.codebook.tensor_names import AROUND

FIRST: Final = ("semantic", "first", "content")
"""Words in the name of a quantizer that comes before those of its kind."""


def merge(same: list[Match]) -> Match:
    """Return one match for several of one family.

    Prefixes that differ only in a number are layers of one quantizer (or groups, where the family counts layers
    itself); others are books, semantic before acoustic, then by name. Whether one of them takes what another left of
    the features is not known, nor in which order books do: so an output projection that may decide a token counts.
    """
    patterns: dict[str, list[Match]] = {}
    for each in sorted(same, key=_order):
        patterns.setdefault(_pattern(each.prefix), []).append(each)
    common = _common(sorted(patterns))
    names: list[str] = []
    found: list[Found] = []
    for pattern, matches in patterns.items():
        for numbered in [matches] if _can_number(matches) else [[match] for match in matches]:
            inner = (pattern if len(numbered) > 1 else numbered[0].prefix)[len(common) :].rstrip(".")
            for match in numbered:
                numbers = _numbers(match.prefix) if len(numbered) > 1 else []
                found += [_placed(each, numbers, len(names), has_layers=_has_layers(matches)) for each in match.found]
            names += [f"{inner}.{name}".strip(".") for name in matches[0].books]
    if len(patterns) > 1:
        found = [each._replace(token_relevant=each.token_relevant or each.role == Role.OUTPUT_PROJ) for each in found]
    found.sort(key=lambda each: each.order)
    unplaced = next((each.unplaced for each in same if each.unplaced), "")
    return Match(same[0].family, common, tuple(names), mark(found, ResidualChain.BOOKS), unplaced)


def _order(match: Match) -> tuple[bool, list[tuple[bool, int, str]]]:
    later = not any(word in match.prefix for word in FIRST)
    parts = match.prefix.split(".")
    return later, [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]


def _numbers(prefix: str) -> list[int]:
    return [int(part) for part in prefix.split(".") if part.isdecimal()]


def _pattern(prefix: str) -> str:
    return ".".join("#" if part.isdecimal() else part for part in prefix.split("."))


def _common(patterns: list[str]) -> str:
    first, last = patterns[0].split("."), patterns[-1].split(".")
    pairs = enumerate(zip(first, last))  # noqa: B905 - Python 3.9
    length = next((n for n, (a, b) in pairs if a != b or a == "#"), 0)
    if len(patterns) == 1:
        length = first.index("#") if "#" in first else len(first) - 1
    return "".join(f"{part}." for part in first[:length])


def _has_layers(matches: list[Match]) -> bool:
    return any(each.layer > 0 for match in matches for each in match.found if each.role in CODEBOOK_ROLES)


def _can_number(matches: list[Match]) -> bool:
    """Say whether layers and groups leave room for the numbers of the prefixes."""
    room = 2 - _has_layers(matches) - any(each.group for match in matches for each in match.found)
    return all(len(_numbers(match.prefix)) <= room for match in matches)


def _placed(found: Found, numbers: list[int], book: int, *, has_layers: bool) -> Found:
    group, layer = found.group, found.layer
    if numbers and not has_layers:
        *numbers, layer = numbers
    if numbers:
        group = numbers[-1]
    return found._replace(book=book + found.book, group=group, layer=layer)


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
