"""Tensor names: without the wrappers of torch, and looked up in the family table.

A lookup takes dictionaries alone: every number of a name is replaced by a sign first.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache, lru_cache
from typing import Final, NamedTuple

from vqcheck.codebook.families import FAMILIES
from vqcheck.codebook.family import CODEBOOK_ROLES, Family, Key, canonical_part

WRAPPERS: Final = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Components that DataParallel, torch.compile, FSDP and activation checkpointing add, anywhere in a name."""


def unwrapped(name: str) -> str:
    """Return a tensor's name without the wrappers around the modules that it stands in."""
    *modules, last = name.split(".")
    return ".".join([part for part in modules if part not in WRAPPERS] + [last])


def by_unwrapped(names: Collection[str]) -> dict[str, list[str]]:
    """Return unwrapped name -> the names that come to it; more than one where wrapped and bare ones stand together."""
    found: dict[str, list[str]] = {}
    for name in names:
        is_wrapped = any(wrapper in name for wrapper in WRAPPERS)
        found.setdefault(unwrapped(name) if is_wrapped else name, []).append(name)
    return found


def around_all(names: Collection[str]) -> dict[str, list[str]]:
    """Return the wrappers that names begin with -> those names: a bare model and a wrapped one stand side by side."""
    found: dict[str, list[str]] = {}
    for name in names:
        parts = name.split(".")
        length = next((number for number, part in enumerate(parts[:-1]) if part not in WRAPPERS), len(parts) - 1)
        found.setdefault("".join(f"{part}." for part in parts[:length]), []).append(name)
    return found


def wrapped_prefix(prefix: str, name: str) -> str:
    """Return the beginning of a name that comes to an unwrapped prefix, wrappers behind it included."""
    left = prefix.split(".")[:-1]
    parts = name.split(".")[:-1]
    taken = 0
    for part in parts:
        if left and part == left[0]:
            left.pop(0)
        elif part not in WRAPPERS:
            break
        taken += 1
    return "".join(f"{part}." for part in parts[:taken])


AROUND: Final = frozenset({"ema_model", "model", "generator", "net_g", "autoencoder"})
"""Names of modules that trainers put around a model, beside WRAPPERS, which are gone here."""
WHOLE_BOOK: Final = -1
"""Layer of a projection that stands in front of all layers of its quantizer."""

MOST_NAMES: Final = 20_000
"""Names that fit a row, each counted for every row that it fits. The largest codecs have some hundred; the search ends
behind that many."""

_NUMBER: Final = "#"
_LONGEST: Final = 1_000
_MOST_DOTS: Final = 40
"""Longer names are of no model; looking one up takes time with the square of its components."""


class Named(NamedTuple):
    """A tensor whose name fits a key of the table."""

    name: str
    key: Key
    part: str
    group: int
    layer: int
    length: int
    """Components of the name that the key accounts for."""


class _NameTable(NamedTuple):
    exact: dict[str, list[tuple[Family, Key]]]
    below: dict[str, list[tuple[Family, Key]]]
    """Modules of which everything below belongs to a key."""
    endings: frozenset[str]
    """The last two components of every name in `exact`, or the only one."""
    modules: frozenset[str]
    """The last component that is no number of every name in `below`."""


def is_endless(name: str) -> bool:
    """Say whether a name is longer than any module's, so that looking at all its parts would take hours."""
    return len(name) > _LONGEST or name.count(".") > _MOST_DOTS


def candidates(
    names: Collection[str], own: tuple[Family, ...] = (), last: tuple[Family, ...] = ()
) -> dict[tuple[str, Family], list[Named]]:
    """Return (prefix, row) -> the names that fit the row behind that prefix, for every row and prefix that fits any.

    `own` are rows of the user's, which stand in front of the table; `last` are rows that stand behind it.
    """
    table = _table(own, last)
    found: dict[tuple[str, str], tuple[Family, list[Named]]] = {}
    count = 0
    covers = cache(lambda prefix: all(name.startswith(prefix) for name in names))
    for name in names:
        if is_endless(name):
            continue
        parts = name.split(".")
        # Nearly every name of a model is sorted out here, without a look at all its components.
        ending = ".".join(map(_without_number, parts[-2:]))
        is_exact = ending in table.endings or parts[-1] in table.endings
        is_below = not table.modules.isdisjoint(parts)
        if not (is_exact or is_below):
            continue
        plain = list(map(_without_number, parts))
        fits: list[tuple[int, int, Family, Key]] = []
        for start in range(len(plain)) if is_exact else ():
            rows = table.exact.get(".".join(plain[start:]), ())
            fits += [(start, len(plain), family, key) for family, key in rows]
        # A row takes a tensor by its name, else with the innermost module that it takes whole.
        for end in range(len(plain) - 1, 0, -1) if is_below else ():
            closer = {(start, family) for start, _, family, _ in fits}
            for start in range(end):
                rows = table.below.get(".".join(plain[start:end]), ())
                fits += [(start, end, family, key) for family, key in rows if (start, family) not in closer]
        for start, end, family, key in fits:
            prefix = "".join(f"{part}." for part in parts[:start])
            if family.alone and not AROUND.issuperset(parts[:start]) and not covers(prefix):
                continue
            if family.structural and _is_alone(prefix, family, key, names):
                continue
            named = _named(name, parts, start, end, key)
            if named:
                found.setdefault((prefix, family.name), (family, []))[1].append(named)
                count += 1
        if count > MOST_NAMES:
            break
    return {(prefix, family): named for (prefix, _), (family, named) in found.items()}


def _is_alone(prefix: str, family: Family, key: Key, names: Collection[str]) -> bool:
    """Say whether nothing that a structural row requires lies beside a name: every layer of a model has a `weight`."""
    for other in family.keys:
        if other.role in family.requires and other.role != key.role and prefix + other.template in names:
            return False
    return True


def any_number(name: str) -> str:
    """Return a name with a sign for each number in it, as the table has it."""
    return ".".join(map(_without_number, name.split(".")))


def _without_number(part: str) -> str:
    """Return the sign in place of a number as modules have it; torch finds no `layers.0` under `layers.00`."""
    is_number = part.isdecimal() and part.isascii() and len(part) < 9 and (part[0] != "0" or part == "0")
    return _NUMBER if is_number else part


@lru_cache(maxsize=16)
def _table(own: tuple[Family, ...], last: tuple[Family, ...]) -> _NameTable:
    exact: dict[str, list[tuple[Family, Key]]] = {}
    below: dict[str, list[tuple[Family, Key]]] = {}
    for family in (*own, *FAMILIES, *last):
        for key in family.keys:
            template = key.template
            if "{" in template or any(digit in template for digit in "0123456789"):
                template = ".".join(
                    _NUMBER if part[:1] == "{" or part.isdecimal() else part for part in template.split(".")
                )
            if template.endswith(".*"):
                below.setdefault(template[:-2], []).append((family, key))
            else:
                exact.setdefault(template, []).append((family, key))
    return _NameTable(
        exact,
        below,
        frozenset(name if name.count(".") < 2 else ".".join(name.rsplit(".", 2)[1:]) for name in exact),
        frozenset(name.removesuffix(f".{_NUMBER}").rpartition(".")[2] for name in below),
    )


def _named(name: str, parts: list[str], start: int, end: int, key: Key) -> Named | None:
    """Return what a name stands for under a key, or None where a number that the key spells out is another one."""
    numbers = {}
    for part, wanted in zip(parts[start:end], key.template.split(".")):  # noqa: B905 - Python 3.9
        if wanted[:1] == "{":
            numbers[wanted] = int(part)
        elif part != wanted:
            return None
    part = key.part if end == len(parts) else key.part + canonical_part(".".join(parts[end:]))
    default = 0 if key.role in CODEBOOK_ROLES else WHOLE_BOOK
    return Named(name, key, part, numbers.get("{group}", 0), numbers.get("{layer}", default), end - start)
