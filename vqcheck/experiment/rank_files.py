"""Tells by their names which files the ranks of one step wrote: `G_400_rank0.pth`, `rank1/model.pt`, `ema_r2.pth`."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from vqcheck.language import trn

_RANK: Final = re.compile(r"(?<![a-z])(?:rank[_-]?|r)(\d{1,5})(?![0-9a-z])", re.IGNORECASE)


def ranks_in_words(ranks: Sequence[int]) -> str:
    """Return such as `rank 1` or `ranks 0, 2`."""
    return trn("rank {ranks}", "ranks {ranks}", len(ranks), ranks=", ".join(map(str, ranks)))


def ranks_of_one_step(paths: Iterable[str]) -> tuple[dict[int, str], ...]:
    """Return rank -> path of each group of files whose names differ in the number of the rank alone.

    The numbers must follow on each other: those of adapters, as in `lora_r16.pth` and `lora_r32.pth`, do not.
    """
    groups: dict[tuple[str, str], dict[int, str]] = defaultdict(dict)
    for path in paths:
        found = list(_RANK.finditer(path))
        if found:
            groups[path[: found[-1].start(1)], path[found[-1].end(1) :]].setdefault(int(found[-1][1]), path)
    return tuple(
        dict(sorted(group.items()))
        for group in groups.values()
        if len(group) > 1 and max(group) - min(group) == len(group) - 1
    )
