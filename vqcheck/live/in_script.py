"""What `vqcheck run` does inside a training script: finds modules with codebooks, and guards, freezes or measures them.

A module counts from its first forward in train mode on, as the outermost module that is called.  A step is a step of an
optimizer that has one of its parameters.  Each process looks at its own copy, without asking the others: a script may
train on several processes in any way.  What was seen is written to a file of the process, again and again, so that it
is there however the process ends.
"""

from __future__ import annotations

import json
import os
import sys
import weakref
from multiprocessing import util
from typing import Any, Final, NoReturn

from vqcheck.errors import CodebookChanged, NoCodebookError, UsageError, VqcheckError

FOLDER: Final = "VQCHECK_RUN_FOLDER"
"""Environment variable: where each process writes what it saw."""
OPTIONS: Final = "VQCHECK_RUN_OPTIONS"
"""Environment variable: JSON with `mode`, `warn` and `every`."""
GUARD: Final = "guard"
FREEZE: Final = "freeze"
MONITOR: Final = "monitor"


def watch_process() -> None:
    """Set the hooks in this process; called once, when torch has been imported."""
    process = _Process(json.loads(os.environ[OPTIONS]), os.environ[FOLDER])
    process.hook()


class _Watched:
    """One module with codebooks."""

    def __init__(self, module: Any, options: dict[str, Any]) -> None:
        from vqcheck.live.freeze import freeze
        from vqcheck.live.guard import Guard
        from vqcheck.live.monitor import Monitor

        self.module = weakref.ref(module)
        self.parameters = {id(parameter) for parameter in module.parameters()}
        self.finding: CodebookChanged | None = None
        self.guard: Guard | None = None
        self.monitor: Monitor | None = None
        if options["mode"] == FREEZE:
            freeze(module)
        if options["mode"] == MONITOR:
            self.monitor = Monitor(module, options["every"], ranks="own")
        else:
            self.guard = Guard(module, options["every"], self._found, ranks="own")
        self.facts: dict[str, Any] = {"name": type(module).__name__, "looked_at": 0, "finding": None, "use": None}

    def _found(self, error: CodebookChanged) -> None:
        self.finding = error
        changes = [
            {
                "name": change.name,
                "step": change.step,
                "what": str(change).partition(": ")[2],
                "written_by": str(change.write) if change.write else "",
                "file": _own(change.write)[0],
                "line": _own(change.write)[1],
            }
            for change in error.finding.changes
        ]
        self.facts["finding"] = {"step": error.finding.step, "text": str(error), "changes": changes}

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
            last = self.monitor.records[-1]
            self.facts["use"] = {"text": str(last), "collapsed": list(last.collapsed), "scalars": last.scalars()}


def _own(write: Any) -> tuple[str, int]:
    """Return the user's own line where a write was caught."""
    place = write and (write.called_from or write)
    return (place.file, place.line) if place else ("", 0)


class _Process:
    """All that is watched in this process."""

    def __init__(self, options: dict[str, Any], folder: str) -> None:
        self._options, self._folder = options, folder
        self._start()

    def _start(self) -> None:
        self._pid = os.getpid()
        self._watched: list[_Watched] = []
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()
        self._steps = 0
        self._problem = ""
        self._ended = False
        util.Finalize(None, self._finish, exitpriority=100)

    def hook(self) -> None:
        from torch.nn.modules import module
        from torch.optim import optimizer

        module.register_module_forward_pre_hook(self._before_forward)
        optimizer.register_optimizer_step_post_hook(self._after_step)
        self._leave = os._exit
        os._exit = self._exit_at_once
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def _exit_at_once(self, status: int) -> NoReturn:
        """Look a last time where a script leaves without the interpreter's own end, as some trainers do."""
        if not self._ended:
            self._finish()
        self._leave(status)

    def _forget(self) -> None:
        """Begin anew in a forked process, whose parent looks at what it found itself."""
        self._watched, self._known, self._steps, self._problem = [], weakref.WeakSet(), 0, ""
        util.register_after_fork(self, _Process._start)

    def _before_forward(self, module: Any, args: Any) -> None:  # noqa: ARG002 - as torch calls it
        import torch

        if not module.training or not torch.is_grad_enabled() or module in self._known:
            return
        self._consider(module)

    def _consider(self, module: Any) -> None:
        """Watch a module that is called for the first time, if it has codebooks; what is below it is known then."""
        self._known.update(module.modules())
        try:
            self._watched.append(_Watched(module, self._options))
        except NoCodebookError as error:
            if "but not the projection" in error.reason:
                self._fail(error)
            return
        except UsageError as error:
            if "never trained" in error.reason:
                # it is filled by its first batches, and watched from then on
                for each in module.modules():
                    self._known.discard(each)
                self._problem = self._problem or str(error)
                return
            self._fail(error)
            raise
        self._problem = ""
        self._write()

    def _fail(self, error: VqcheckError) -> None:
        self._problem = str(error)
        self._write()

    def _after_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:  # noqa: ARG002 - as torch calls it
        self._steps += 1
        if self._steps == 1 and not self._watched:
            why = f": {self._problem}" if self._problem else ""
            print(f"vqcheck: no codebook was seen before the first optimizer step{why}", file=sys.stderr, flush=True)
            self._write()
        stepped = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        for each in self._watched:
            if stepped.isdisjoint(each.parameters):
                continue
            each.step()
            self._after_look(each)

    def _after_look(self, each: _Watched) -> None:
        steps = each.guard.steps if each.guard else each.monitor.steps if each.monitor else 0
        if each.finding is None and steps % self._options["every"]:
            return
        each.note_use()
        if each.guard and each.finding is None:
            each.facts["looked_at"] = steps
        self._write()
        if each.finding and not self._options["warn"]:
            raise each.finding
        if each.finding and not each.facts.get("told"):
            each.facts["told"] = True
            print(f"vqcheck: {each.finding}", file=sys.stderr, flush=True)

    def _finish(self) -> None:
        """Look a last time, before the process ends."""
        if self._pid != os.getpid():
            return
        try:
            for each in self._watched:
                if each.finding is None:
                    each.look()
                if each.finding and not each.facts.get("told"):
                    print(f"vqcheck: {each.finding}", file=sys.stderr, flush=True)
            self._ended = True
        except Exception as error:  # noqa: BLE001 - said in the report; the script's own end goes on
            self._problem = f"the last look failed: {type(error).__name__}: {error}"
        self._write()

    def _write(self) -> None:
        """Replace the file of this process by what is known now."""
        facts = {
            "pid": self._pid,
            "script": sys.argv[0] if getattr(sys, "argv", None) else "",
            "steps": self._steps,
            "ended": self._ended,
            "problem": self._problem,
            "modules": [
                {name: value for name, value in each.facts.items() if name != "told"} for each in self._watched
            ],
        }
        path = os.path.join(self._folder, f"{self._pid}.json")
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            json.dump(facts, file)
        os.replace(f"{path}.new", path)
