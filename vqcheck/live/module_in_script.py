"""One module with codebooks in a script that `vqcheck run` watches: guarded, frozen or measured, and what is known."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any, Final

from torch import nn

from vqcheck.codebook.family import CODEBOOK_ROLES
from vqcheck.errors import CodebookChanged, NoCodebookError
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


def whole_model(module: nn.Module) -> nn.Module:
    """Return the nearest module around a quantizer that has the projection in front of it; else the module itself.

    A script may call `net_g.quantizer(net_g.ssl_proj(x))`, and what is in front decides tokens as much as the codes.
    """
    if not _holds_codebooks_alone(module):
        return module
    own = set(module.modules())
    for around in _modules_around(module):
        try:
            found = find(around)
        except NoCodebookError:
            continue
        in_front = [each.name for each in found.tensors if each.role not in CODEBOOK_ROLES]
        if any(around.get_submodule(name.rpartition(".")[0]) not in own for name in in_front):
            return around
    return module


def _holds_codebooks_alone(module: nn.Module) -> bool:
    try:
        return all(each.role in CODEBOOK_ROLES for each in find(module).tensors)
    except NoCodebookError as error:
        return "but not the projection" in error.reason


def _modules_around(module: nn.Module) -> Iterator[nn.Module]:
    """Return the modules that hold this one, from the nearest on. Only the garbage collector knows them."""
    # by its type: what merely claims to be a module, as a proxy does, may do anything when asked
    alive = [each for each in gc.get_objects() if issubclass(type(each), nn.Module)]
    level, seen = {module}, {module}
    while level:
        level = {each for each in alive if each not in seen and any(child in level for child in _children(each))}
        seen.update(level)
        yield from level


def _children(module: nn.Module) -> set[nn.Module]:
    """Return what stands directly below a module, which may still be under construction."""
    return {each for each in module.__dict__.get("_modules", {}).values() if each is not None}


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
