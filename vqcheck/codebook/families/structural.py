"""What is left when no codec's names fit: tensors that lie side by side as those of a codebook do.

A count of the length of one axis of a matrix beside it is evidence enough to compare both, whatever the model; which
codec it is, in which order its quantizers come, and what stands in front of them is then not known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Final

from vqcheck.codebook.family import Derivation, Family, Key, Role, codebook
from vqcheck.language import listed, tr

_FLAGS: Final = ("inited", "initted", "initialized", "_initialized")


NAMED: Final = (
    ("embed", "embed_avg", "cluster_size"),
    ("codes", "codes_avg", "cluster_size"),
    ("embeddings", "z_avg", "N"),
    ("weight", "embed_avg", "cluster_size"),
)
"""Names so usual that codes and counts are evidence enough without the sums; for others see `sibling_rows`."""


def _title(*names: str) -> str:
    return tr("unknown layout, found by neighbouring tensors ({names})", names=listed(names, ""))


def siblings(codes: str, sums: str, counts: str) -> Family:
    """Return the row for tensors of these names side by side."""
    return Family(
        name=f"unknown:{codes}",
        title=_title(codes, sums, counts),
        keys=codebook("", codes, sums, counts, _FLAGS),
        requires=frozenset({Role.CODES, Role.EMA_COUNT}),
        structural=True,
    )


STRUCTURAL: Final = (
    *(siblings(*names) for names in NAMED),
    Family(
        name="unknown:embed_sum",
        title=_title("embed_sum", "cluster_usage"),
        keys=(
            Key(Role.EMA_SUM, "embed_sum"),
            Key(Role.EMA_SUM, "embedding_sum"),
            Key(Role.EMA_COUNT, "cluster_usage"),
            *(Key(Role.INIT_FLAG, flag) for flag in _FLAGS),
        ),
        requires=frozenset({Role.EMA_SUM, Role.EMA_COUNT}),
        derivation=Derivation.SUM_OVER_COUNT,
        structural=True,
    ),
)


Shape = tuple[int, ...]

_COUNTS: Final = frozenset({"count", "counts", "usage", "hits", "size", "sizes"})
_SUMS: Final = frozenset({"sum", "sums", "avg", "average", "mean", "total", "ema"})
_MOST: Final = 8
"""Pairs of like tensors beyond which a module is no quantizer."""
_WORDS: Final = re.compile(r"[a-z]+")


def sibling_rows(shapes: Mapping[str, Shape]) -> tuple[Family, ...]:
    """Return a row for each triple of names under which a module keeps codes, sums and counts."""
    # A model has some thousand names and some dozen last components.
    lasts = {name.rpartition(".")[2] for name in shapes}
    counts = {last for last in lasts if _is_called(last, _COUNTS)}
    modules: dict[str, list[str]] = {}
    for name, shape in shapes.items() if counts else ():
        module, _, last = name.rpartition(".")
        if last in counts and len(shape) in (1, 2):
            modules.setdefault(module, [])
    if not modules:
        return ()
    for name in shapes:
        module, _, last = name.rpartition(".")
        if module in modules:
            modules[module].append(last)
    triples = {
        _triple({last: shapes[f"{module}.{last}" if module else last] for last in names}): None
        for module, names in modules.items()
    }
    return tuple(_row(*triple) for triple in triples if triple and triple not in NAMED)


@cache
def _row(codes: str, sums: str, counts: str) -> Family:
    return siblings(codes, sums, counts)


def _triple(shapes: Mapping[str, Shape]) -> tuple[str, str, str] | None:
    """Return the names of codes, sums and counts of one module, or None where not exactly one of each is there."""
    alike: dict[Shape, list[str]] = {}
    for name, shape in shapes.items():
        if len(shape) in (2, 3) and not _is_called(name, _COUNTS):
            alike.setdefault(shape, []).append(name)
    ordered = [sorted(names, key=lambda name: _is_called(name, _SUMS)) for names in alike.values() if len(names) == 2]
    pairs = [(codes, sums) for codes, sums in ordered if _is_called(sums, _SUMS) and not _is_called(codes, _SUMS)]
    if len(pairs) > _MOST:
        return None
    fits = [
        (codes, sums, counts)
        for counts, shape in shapes.items()
        if _is_called(counts, _COUNTS)
        for codes, sums in pairs
        if _counts(shape, shapes[sums])
    ]
    return fits[0] if len(fits) == 1 else None


def _is_called(name: str, words: frozenset[str]) -> bool:
    return not words.isdisjoint(_WORDS.findall(name.lower()))


def _counts(count: Shape, sums: Shape) -> bool:
    """Say whether a tensor of the shape `count` has one value for each code."""
    return count == sums[:2] if len(sums) == 3 else len(count) == 1 and count[0] in sums
