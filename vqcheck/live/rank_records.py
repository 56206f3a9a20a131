"""Compares what data-parallel processes wrote down of their codebooks, where none may be asked a question.

A script under `vqcheck run` trains on its processes in any way, and a collective of ours among its own would hang it.
So each process writes fingerprints of its tensors into its record, and whoever reads the records compares those of the
same step.  Plain data, without torch.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vqcheck.experiment.rank_files import ranks_in_words
from vqcheck.language import listed, tr


@dataclass(frozen=True)
class RankDifference:
    """A module with a codebook that is not the same on all ranks."""

    module: str
    step: int
    """Optimizer steps of the module after which it was seen; 0 is the start."""
    ranks: tuple[tuple[int, ...], ...]
    """Ranks that have the same, together; the first rank's first."""
    names: tuple[str, ...]
    """Tensors that differ."""

    def __str__(self) -> str:
        when = tr("after step {step}", step=self.step) if self.step else tr("at the start")
        ranks = [ranks_in_words(side) for side in self.ranks]
        sides = tr("{ranks} and {last}", ranks=listed(ranks[:-1], last=""), last=ranks[-1])
        names = self.names[0]
        if len(self.names) > 1:
            names = tr("{names} and {left} more", names=names, left=len(self.names) - 1)
        return tr(
            "the VQ encoder of {module} is not the same on {ranks} {when}: {names}",
            module=self.module,
            ranks=sides,
            when=when,
            names=names,
        )


@dataclass(frozen=True)
class RankComparison:
    """The processes of one group that have a codebook, compared."""

    world_size: int
    ranks: tuple[int, ...]
    """Those that were compared; others had no codebook, or run on other machines."""
    differences: tuple[RankDifference, ...]


def read_records(folder: str) -> list[dict[str, Any]]:
    """Return what each process wrote.

    Raises:
        OSError: a file cannot be read, as while it is replaced on Windows.

    """
    records = []
    for name in sorted(os.listdir(folder)):
        if name.endswith(".json"):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                records.append(json.load(file))
    return records


def compare_records(records: Iterable[Mapping[str, Any]]) -> tuple[RankComparison, ...]:
    """Compare the records of each process group, as `vqcheck.live.in_script` writes them.

    Two processes that call themselves the same rank are of two groups that cannot be told apart, and not compared.
    """
    groups: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for record in records:
        if record["rank"] and record["modules"]:
            groups[record["rank"]["group"]].append(record)
    comparisons = []
    for group in groups.values():
        numbers = sorted(record["rank"]["number"] for record in group)
        if len(numbers) > 1 and len(set(numbers)) == len(numbers):
            by_rank = {record["rank"]["number"]: record for record in group}
            comparisons.append(
                RankComparison(group[0]["rank"]["of"], tuple(numbers), tuple(_differences(by_rank, numbers)))
            )
    return tuple(comparisons)


def _differences(by_rank: Mapping[int, Mapping[str, Any]], numbers: Sequence[int]) -> Iterable[RankDifference]:
    """Yield the first difference of each module; the same module is the one at the same place, of the same class."""
    modules: dict[tuple[int, str], dict[int, Mapping[str, Any]]] = defaultdict(dict)
    for number in numbers:
        for place, module in enumerate(by_rank[number]["modules"]):
            modules[place, module["name"]][number] = module["prints"]
    for (_, name), prints in modules.items():
        steps = sorted({int(step) for each in prints.values() for step in each})
        for step in steps:
            seen = {number: each[str(step)] for number, each in prints.items() if str(step) in each}
            sides: dict[tuple[tuple[str, int], ...], list[int]] = defaultdict(list)
            for number, tensors in seen.items():
                sides[tuple(sorted(tensors.items()))].append(number)
            if len(sides) > 1:
                tensors_seen = [dict(side) for side in sides]
                names = dict.fromkeys(tensor for each in seen.values() for tensor in each)
                differ = [each for each in names if len({side.get(each) for side in tensors_seen}) > 1]
                yield RankDifference(name, step, tuple(map(tuple, sides.values())), tuple(differ))
                break
