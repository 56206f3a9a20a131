"""Tensors of many codebooks, put together where the same can be said of them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from vqcheck.codebook.comparison import TensorDiff
from vqcheck.report.words.ranges import ranges

_NUMBERED: Final = re.compile(r"(.*?)([0-9]{1,9}) (\S+)")


@dataclass(frozen=True, slots=True)
class Group:
    """Tensors of one role with one verdict; often a single one."""

    label: str
    tensors: tuple[TensorDiff, ...]

    @property
    def rows(self) -> str:
        """How many rows changed in all; empty where that is not measured."""
        changes = [diff.change for diff in self.tensors if diff.change]
        total = sum(change.rows for change in changes)
        return f"{sum(change.rows_changed for change in changes)} of {total} rows" if total > len(changes) else ""

    @property
    def digests(self) -> str:
        """The digests of both sides, or how many tensors there are."""
        if len(self.tensors) > 1:
            return f"{len(self.tensors)} tensors"
        a, b = (digest.short if digest else "-" for digest in (self.tensors[0].a_digest, self.tensors[0].b_digest))
        return a if a == b else f"{a} > {b}"


def grouped(tensors: Iterable[TensorDiff]) -> list[Group]:
    """Return the tensors in their order; those that differ only in the number of the layer together."""
    together: dict[object, list[tuple[int, TensorDiff]]] = {}
    for diff in tensors:
        numbered = _NUMBERED.fullmatch(diff.label)
        if numbered is None:
            together[diff.label] = [(0, diff)]
            continue
        before, number, name = numbered.groups()
        kind = (
            before,
            name,
            diff.verdict,
            diff.judged,
            diff.note,
            diff.a_dtype,
            diff.b_dtype,
            diff.a_shape,
            diff.b_shape,
        )
        together.setdefault(kind, []).append((int(number), diff))
    return [_group(kind, members) for kind, members in together.items()]


def _group(kind: object, members: list[tuple[int, TensorDiff]]) -> Group:
    diffs = tuple(diff for _, diff in members)
    if len(members) == 1 or not isinstance(kind, tuple):
        return Group(diffs[0].label, diffs)
    before, name, *_ = kind
    return Group(f"{before}{ranges(sorted(number for number, _ in members))} {name}", diffs)
