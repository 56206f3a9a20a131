"""What `vqcheck run` saw of a training script: process by process, module by module. Plain data, which reports read."""

from dataclasses import dataclass
from typing import Any

from vqcheck.language import tr, unpacked
from vqcheck.live.rank_records import RankComparison, RankDifference
from vqcheck.word_enum import VerdictEnum, WordEnum


class RunMode(WordEnum):
    """What is done with the codebooks of a script."""

    GUARD = "guard"
    FREEZE = "freeze"
    MONITOR = "monitor"


class RunVerdict(VerdictEnum):
    STILL = "still", 0
    """No tensor of any VQ encoder changed until the end."""
    CHANGED = "changed", 1
    MEASURED = "measured", 0
    COULD_NOT_CHECK = "could not check", 2


@dataclass(frozen=True, slots=True)
class SeenChange:
    """A tensor that changed."""

    name: str
    step: int
    what: str
    written_by: str
    """The operator and line of the write; empty where it was not caught."""
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class WatchedModule:
    """A module with codebooks."""

    name: str
    looked_at: int
    """Optimizer steps of the module until the last look."""
    changes: tuple[SeenChange, ...]
    use: str
    """What a monitor read last; empty without one."""
    scalars: dict[str, float]
    collapsed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WatchedProcess:
    """A process of the script that trained, or that has a codebook."""

    pid: int
    script: str
    rank: int | None
    """Its number in its process group; None where it is alone."""
    steps: int
    """Steps of any optimizer."""
    ended: bool
    """It looked a last time before it ended."""
    problem: str
    modules: tuple[WatchedModule, ...]

    @property
    def why_unsure(self) -> str:
        """Why this process shows nothing for sure; empty where it does."""
        if self.problem:
            return self.problem
        if not self.modules:
            return tr("it trained, and no codebook was seen in it")
        if not self.ended:
            return tr("it was ended before a last look at its codebooks")
        return "" if self.steps else tr("no optimizer step was made")


@dataclass(frozen=True, slots=True)
class WatchedRun:
    """A run of a training script."""

    command: tuple[str, ...]
    mode: RunMode
    warn: bool
    failure: str
    """How the script itself failed; empty where it did not."""
    processes: tuple[WatchedProcess, ...]
    ranks: tuple[RankComparison, ...]
    """Of each process group, how its ranks compare."""

    @property
    def changed(self) -> tuple[tuple[WatchedProcess, WatchedModule], ...]:
        return tuple((each, module) for each in self.processes for module in each.modules if module.changes)

    @property
    def differing(self) -> tuple[RankDifference, ...]:
        """What is not the same on all ranks."""
        return tuple(each for comparison in self.ranks for each in comparison.differences)

    @property
    def is_broken(self) -> bool:
        """Whether the VQ encoder changed, or was not one and the same; a monitor only measures."""
        return bool(self.changed) or (bool(self.differing) and self.mode is not RunMode.MONITOR)

    @property
    def why_not_checked(self) -> str:
        """Why nothing is sure; empty where it is."""
        # a script that the guard ended has failed for that reason
        if self.failure and (self.warn or not self.is_broken):
            return self.failure
        if not self.processes:
            return tr(
                "no codebook and no optimizer step was seen: no Python of the script used torch, or none took the hook"
            )
        if self.is_broken:
            return ""
        return next((each.why_unsure for each in self.processes if each.why_unsure), "")

    @property
    def verdict(self) -> RunVerdict:
        if self.why_not_checked:
            return RunVerdict.COULD_NOT_CHECK
        if self.is_broken:
            return RunVerdict.CHANGED
        return RunVerdict.MEASURED if self.mode is RunMode.MONITOR else RunVerdict.STILL

    @property
    def exit_code(self) -> int:
        return self.verdict.exit_code


def process_of(facts: dict[str, Any]) -> WatchedProcess:
    """Return a process from what it wrote of itself, see `vqcheck.live.in_script`."""
    modules = []
    for each in facts["modules"]:
        finding, use = each["finding"] or {}, each["use"] or {}
        modules.append(
            WatchedModule(
                each["name"],
                each["looked_at"],
                tuple(_change(change) for change in finding.get("changes", ())),
                unpacked(use.get("text", "")),
                use.get("scalars", {}),
                tuple(use.get("collapsed", ())),
            )
        )
    rank = facts["rank"]["number"] if facts["rank"] else None
    return WatchedProcess(
        facts["pid"], facts["script"], rank, facts["steps"], facts["ended"], unpacked(facts["problem"]), tuple(modules)
    )


def _change(facts: dict[str, Any]) -> SeenChange:
    return SeenChange(**{**facts, "what": unpacked(facts["what"]), "written_by": unpacked(facts["written_by"])})
