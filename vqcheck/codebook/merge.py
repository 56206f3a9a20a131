"""Makes one VQ encoder of a codec that a model holds more than once, as for semantics and acoustics."""

from typing import Final

from vqcheck.codebook.family import BOOKS, CODEBOOK_ROLES, OUTPUT_PROJ
from vqcheck.codebook.found import Found, Match
from vqcheck.codebook.token_relevant import mark

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
        found = [each._replace(token_relevant=each.token_relevant or each.role == OUTPUT_PROJ) for each in found]
    found.sort(key=lambda each: each.order)
    return Match(same[0].family, common, tuple(names), mark(found, BOOKS))


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
