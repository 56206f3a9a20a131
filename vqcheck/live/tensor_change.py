"""What is said of tensors that changed, and of who wrote them: plain values, which are read without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from vqcheck.codebook.family import Role
from vqcheck.language import listed, tr

_SHOWN: Final = 6
"""Tensors that an error names one by one."""

OPTIMIZER_STEP: Final = tr("the optimizer's step")
"""Stands for the function where vqcheck's own training step let an optimizer write."""
MISSING: Final = tr("is missing")
"""What is wrong with a tensor whose name leads to none any more."""


@dataclass(frozen=True)
class SourceLine:
    """A line of Python."""

    file: str
    line: int
    function: str


@dataclass(frozen=True)
class Write:
    """One write that changed bits: the operator, and the innermost line of Python outside torch.

    What an optimizer writes in vqcheck's own training step has no line: its function is `OPTIMIZER_STEP`.
    """

    operator: str
    """The aten operator, such as `aten.copy_.default`; `rebinding` where the name leads to another tensor, `deletion`
    where it leads to none."""
    file: str
    line: int
    function: str
    called_from: SourceLine | None = None
    """The innermost line of the user's own code, where the write itself is an installed package's."""

    def __str__(self) -> str:
        own = self.called_from
        if not self.file:
            if not self.function:
                return self.operator
            return tr("{operator} in {function}", operator=self.operator, function=self.function)
        at = tr(
            "{operator} at {file}:{line} in {function}",
            operator=self.operator,
            file=self.file,
            line=self.line,
            function=self.function,
        )
        if own is None:
            return at
        return tr(
            "{write}, called from {file}:{line} in {function}",
            write=at,
            file=own.file,
            line=own.line,
            function=own.function,
        )


@dataclass(frozen=True)
class TensorStep:
    """One tensor of the VQ encoder after one training step, bit by bit against its state at the start."""

    label: str
    changed: bool
    """Its bits differ from those at the start."""
    written: bool
    """Its bits differ from those one step earlier."""
    rows_changed: int
    rows: int
    """Codes, of all heads, where the tensor has a row for each; else the length of its first axis."""
    l2: float
    """Euclidean distance from the start; not a number when the tensor has become one."""
    max_abs: float
    """Greatest distance of one value from the start."""
    role: str = Role.CODES
    holds_codes: bool = True
    """The vectors of a lookup stand in it, or are calculated from it."""
    problem: str = ""
    """How it is no longer comparable at all, such as `is missing`; then every row counts as changed."""


@dataclass(frozen=True)
class TensorChange:
    """One tensor of the VQ encoder that is not what it was when the guard was set."""

    name: str
    step: int
    """The first step, counted from 1, after which its bits were others; the earliest on any rank."""
    rows: int
    """Codes, of all heads, where the tensor has a row for each; else the length of its first axis."""
    rows_changed: int
    """As of the check; 0 where all is back as it was, or only other ranks differ."""
    max_abs: float
    """Greatest change of one value."""
    misfit: str = ""
    """How the tensor is no longer comparable at all, such as `is now float16, was float32`."""
    ranks: tuple[int, ...] = ()
    """The processes on which it changed or which differ from rank 0; empty in a process alone."""
    write: Write | None = None
    """A write caught in the step after the check; None where there was none, as after a single load_state_dict."""

    @property
    def what(self) -> str:
        """What became of the tensor, without its name."""
        if self.misfit:
            what = self.misfit
        elif self.rows_changed:
            what = tr(
                "{changed} of {rows} rows, by at most {largest:.3g}",
                changed=self.rows_changed,
                rows=self.rows,
                largest=self.max_abs,
            )
        else:
            what = tr("the same again by now") if not self.ranks else tr("not in this process")
        if not self.ranks:
            return tr("{change}, first in step {step}", change=what, step=self.step)
        ranks = listed([str(rank) for rank in self.ranks], last="")
        return tr("{change}, first in step {step} on rank {ranks}", change=what, step=self.step, ranks=ranks)

    def __str__(self) -> str:
        return f"{self.name}: {self.what}"


@dataclass(frozen=True)
class GuardFinding:
    """Everything that changed until one check of a guard."""

    found_after: int
    """Steps made when the guard looked."""
    changes: tuple[TensorChange, ...]
    """By step, then in the family's order."""
    conversion: tuple[str, str] | None = None
    """From which dtype to which other one all of the VQ encoder was converted, such as `float32`, `float64`."""

    @property
    def step(self) -> int:
        """The first step that changed anything."""
        return min(change.step for change in self.changes)

    def with_writes(self, writes: Mapping[str, Write]) -> GuardFinding:
        """Return the same with the writes of these names added."""
        changes = tuple(replace(change, write=writes.get(change.name)) for change in self.changes)
        return replace(self, changes=changes)

    def __str__(self) -> str:
        in_it = self.step > self.found_after
        looked = "before that step was counted" if in_it else f"after step {self.found_after}"
        if self.conversion:
            before, after = self.conversion
            return (
                f"the VQ encoder was converted from {before} to {after} in step {self.step} (looked at {looked}), as "
                "by double() or half() on the whole model: a guard compares bits, so make a new one after a conversion"
            )
        lines = [f"the VQ encoder changed in step {self.step} (looked at {looked})"]
        for change in self.changes[:_SHOWN]:
            lines.append(f"  {change}")
            if change.write:
                lines.append(f"    written by {change.write}")
        if len(self.changes) > _SHOWN:
            lines.append(f"  and {len(self.changes) - _SHOWN} more")
        if not any(change.write for change in self.changes):
            lines.append("  the writing line is not known: nothing wrote while the guard watched for it")
        return "\n".join(lines)
