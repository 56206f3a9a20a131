"""One module with codebooks in a script that `vqcheck run` watches: guarded, frozen or measured, and what is known."""

from __future__ import annotations

import weakref
from typing import Any, Final

from vqcheck.errors import CodebookChanged
from vqcheck.language import packed
from vqcheck.live.encoder import find
from vqcheck.live.freeze import freeze
from vqcheck.live.guard import Action, Guard
from vqcheck.live.monitor import Monitor
from vqcheck.live.ranks import fingerprint

FREEZE: Final = "freeze"
MONITOR: Final = "monitor"
_PRINTS: Final = 16
"""Steps of which a monitor keeps fingerprints."""


class _EarlyGuard(Guard):
    """A guard that asks no other process, since that may make other steps, and that looks after each early step."""

    def __init__(self, module: Any, every: int, action: Action) -> None:
        super().__init__(module, every, action, ranks="own")
        self._later = every

    def step(self) -> None:
        self._every = 1 if self.steps < self._later else self._later
        super().step()


class ModuleInScript:
    """One module with codebooks, guarded, frozen or measured."""

    def __init__(self, module: Any, mode: str, every: int) -> None:
        self._parameters = {id(parameter) for parameter in module.parameters()}
        self._is_optimized = False
        self._clock: weakref.ref[Any] | None = None
        self._encoder = find(module)
        self.finding: CodebookChanged | None = None
        self.guard: Guard | None = None
        self.monitor: Monitor | None = None
        if mode == FREEZE:
            freeze(module)
        if mode == MONITOR:
            self.monitor = Monitor(module, every, ranks="own")
        else:
            self.guard = _EarlyGuard(module, every, self._found)
        self.told = False
        self.facts: dict[str, Any] = {
            "name": type(module).__name__,
            "looked_at": 0,
            "finding": None,
            "use": None,
            "prints": {},
        }
        self._note_prints(0)

    def counts(self, optimizer: Any) -> bool:
        """Tell whether a step of this optimizer is a step of this module."""
        if any(id(each) in self._parameters for group in optimizer.param_groups for each in group["params"]):
            self._is_optimized = True
            return True
        if self._is_optimized or any(each.requires_grad for each in self._encoder.module.parameters()):
            return False
        self._clock = self._clock or weakref.ref(optimizer)
        return self._clock() is optimizer

    def _found(self, error: CodebookChanged) -> None:
        self.finding = error
        changes = [
            {
                "name": change.name,
                "step": change.step,
                "what": packed(change.what),
                "written_by": packed(str(change.write)) if change.write else "",
                "file": _own(change.write)[0],
                "line": _own(change.write)[1],
            }
            for change in error.finding.changes
        ]
        self.facts["finding"] = {"step": error.finding.step, "text": str(error), "changes": changes}

    @property
    def steps(self) -> int:
        return self.guard.steps if self.guard else self.monitor.steps if self.monitor else 0

    def step(self) -> None:
        if self.guard:
            self.guard.step()
        elif self.monitor:
            self.monitor.step()

    def look(self) -> None:
        """Look at what happened since the last look, and note it."""
        if self.guard:
            self.guard.check()
            self.facts["looked_at"] = self.guard.steps
        elif self.monitor:
            if self.facts["looked_at"] < self.monitor.steps:
                self.monitor.read()
            self.note_use()

    def note_use(self) -> None:
        if self.monitor and self.monitor.records:
            self.facts["looked_at"] = self.monitor.steps
            self._note_prints(self.monitor.steps)
            last = self.monitor.records[-1]
            self.facts["use"] = {
                "text": packed(str(last)),
                "collapsed": list(last.collapsed),
                "scalars": last.scalars(),
            }

    def _note_prints(self, step: int) -> None:
        """Note fingerprints for the comparison with other ranks: of the start, and of the last steps."""
        prints = self.facts["prints"]
        prints[str(step)] = {name: int(fingerprint(tensor)) for name, tensor in self._encoder.now().items()}
        for old in list(prints)[1:-_PRINTS]:
            del prints[old]


def _own(write: Any) -> tuple[str, int]:
    """Return the user's own line where a write was caught."""
    place = write and (write.called_from or write)
    return (place.file, place.line) if place else ("", 0)
