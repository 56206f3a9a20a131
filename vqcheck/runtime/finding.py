"""What a guard found: plain values, so that whoever catches the error needs no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

_SHOWN: Final = 6
"""Tensors that an error names one by one."""


@dataclass(frozen=True, slots=True)
class Write:
    """One write that changed bits: the operator, and the innermost line of Python outside torch."""

    operator: str
    """The aten operator, such as `aten.copy_.default`, or `rebinding` where the name leads to another tensor."""
    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.operator} at {self.file}:{self.line} in {self.function}"


@dataclass(frozen=True, slots=True)
class TensorChange:
    """One tensor of the VQ encoder that is not what it was when the guard was set."""

    name: str
    step: int
    """The first step, counted from 1, after which its bits were others; the earliest on any rank."""
    rows: int
    """Codes, where the tensor has one row for each; else the first axis of the tensor."""
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

    def __str__(self) -> str:
        if self.misfit:
            what = self.misfit
        elif self.rows_changed:
            what = f"{self.rows_changed} of {self.rows} rows, by at most {self.max_abs:.3g}"
        else:
            what = "the same again by now" if not self.ranks else "not in this process"
        on = f" on rank {', '.join(map(str, self.ranks))}" if self.ranks else ""
        return f"{self.name}: {what}, first in step {self.step}{on}"


@dataclass(frozen=True, slots=True)
class Finding:
    """Everything that changed until one check."""

    found_after: int
    """Steps made when the guard looked."""
    changes: tuple[TensorChange, ...]
    """By step, then in the family's order."""

    @property
    def step(self) -> int:
        """The first step that changed anything."""
        return min(change.step for change in self.changes)

    def with_writes(self, writes: Mapping[str, Write]) -> "Finding":
        """Return the same with the writes of these names added."""
        changes = tuple(replace(change, write=writes.get(change.name)) for change in self.changes)
        return replace(self, changes=changes)

    def __str__(self) -> str:
        lines = [f"the VQ encoder changed in step {self.step} (looked at after step {self.found_after})"]
        for change in self.changes[:_SHOWN]:
            lines.append(f"  {change}")
            if change.write:
                lines.append(f"    written by {change.write}")
        if len(self.changes) > _SHOWN:
            lines.append(f"  and {len(self.changes) - _SHOWN} more")
        if not any(change.write for change in self.changes):
            lines.append("  the writing line is not known: nothing wrote while the guard watched for it")
        return "\n".join(lines)
