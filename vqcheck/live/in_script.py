"""What `vqcheck run` does inside a training script: finds modules with codebooks, and guards, freezes or measures them.

A module counts from its first forward in train mode on, as the outermost module that is called; where a script calls a
quantizer by itself, as the model whose projection stands in front of it.  A step is a step of an
optimizer that has one of its parameters; of the first optimizer where none of them is trained.  Each process looks at
its own copy, without asking the others: a script may train on several processes in any way.  What was seen is written
to a file of the process, again and again, so that it is there however the process ends; the ranks of one process group
are compared by these files.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import weakref
from multiprocessing import util
from typing import TYPE_CHECKING, Any, Final, NoReturn

import torch

from vqcheck.errors import CodebookChanged, NoCodebookError, UsageError
from vqcheck.language import packed, tr
from vqcheck.live.rank_records import compare_records, read_records

if TYPE_CHECKING:
    from vqcheck.live.module_in_script import ModuleInScript

FOLDER: Final = "VQCHECK_RUN_FOLDER"
"""Environment variable: where each process writes what it saw."""
OPTIONS: Final = "VQCHECK_RUN_OPTIONS"
"""Environment variable: JSON with `mode`, `warn` and `every`."""
_MONITOR: Final = "monitor"
_HAS_COMPILER: Final = hasattr(getattr(torch, "compiler", None), "is_compiling")
_GROUP: Final = ("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT")
"""Environment variables that tell one process group from another that the same program starts."""


def watch_process() -> None:
    """Set the hooks in this process; called once, when torch has been imported."""
    process = _Process(json.loads(os.environ[OPTIONS]), os.environ[FOLDER])
    process.hook()


class _Process:
    """All that is watched in this process."""

    def __init__(self, options: dict[str, Any], folder: str) -> None:
        self._options, self._folder = options, folder
        self._start()

    def _start(self) -> None:
        """Begin anew, also in a forked process, whose parent looks at what it found itself."""
        self._pid = os.getpid()
        self._watched: list[ModuleInScript] = []
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()
        self._steps = 0
        self._problem = ""
        self._rank: dict[str, Any] | None = None
        self._told_ranks = False
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
            # both: a multiprocessing child takes all finalizers away after the first of them
            os.register_at_fork(after_in_child=self._start)
            util.register_after_fork(self, _Process._start)

    def _exit_at_once(self, status: int) -> NoReturn:
        """Look a last time where a script leaves without the interpreter's own end, as some trainers do."""
        if not self._ended:
            self._finish()
        self._leave(status)

    def _before_forward(self, module: Any, args: Any) -> None:  # noqa: ARG002 - as torch calls it
        if _is_compiling():
            # first of all: torch.compile traces this function, too
            return
        if module.training and module not in self._known:
            self._consider(module)

    def _consider(self, module: Any) -> None:
        """Watch a module that is called for the first time, if it has codebooks; what is below it is known then."""
        self._known.update(module.modules())
        try:
            from vqcheck.live.module_in_script import ModuleInScript, whole_model

            module = whole_model(module)
            self._known.update(module.modules())
            self._watched.append(ModuleInScript(module, self._options["mode"], self._options["every"]))
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
            if self._ends_script:
                raise
            return
        except Exception as error:  # noqa: BLE001 - a fault of ours is no fault of the script
            self._fail(error)
            return
        self._problem = ""
        self._write()

    @property
    def _ends_script(self) -> bool:
        return self._options["mode"] != _MONITOR and not self._options["warn"]

    def _fail(self, error: Exception) -> None:
        self._problem = str(error) if isinstance(error, (NoCodebookError, UsageError)) else _in_one_line(error)
        _say(f"a module cannot be watched: {self._problem}")
        self._write()

    def _after_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:  # noqa: ARG002 - as torch calls it
        self._steps += 1
        if self._steps == 1 and not self._watched:
            why = f": {self._problem}" if self._problem else "; one that is called later is watched from then on"
            _say(f"no codebook was seen in train mode before the first optimizer step{why}")
            self._write()
        for each in self._watched:
            if each.counts(optimizer):
                each.step()
                self._after_look(each)

    def _after_look(self, each: ModuleInScript) -> None:
        every = self._options["every"]
        if each.finding is None and each.steps % every and (each.monitor or each.steps > every):
            return
        each.note_use()
        if each.guard and each.finding is None:
            each.facts["looked_at"] = each.steps
        self._write()
        if each.finding and self._ends_script:
            raise each.finding
        self._tell(each)
        if self._rank and self._options["mode"] != _MONITOR:
            self._compare_ranks()

    def _tell(self, each: ModuleInScript) -> None:
        if each.finding and not each.told:
            each.told = True
            _say(str(each.finding))

    def _compare_ranks(self) -> None:
        """End the script, or say it once, where the ranks had other codebooks from the start."""
        own = str(self._rank["group"]) if self._rank else ""
        try:
            records = [each for each in read_records(self._folder) if each["rank"] and each["rank"]["group"] == own]
        except OSError:
            # one is being replaced, or the command has ended
            return
        for comparison in compare_records(records):
            for difference in comparison.differences:
                if self._ends_script:
                    raise CodebookChanged(str(difference), difference)
                if not self._told_ranks:
                    self._told_ranks = True
                    _say(str(difference))

    def _finish(self) -> None:
        """Look a last time, before the process ends."""
        if self._pid != os.getpid():
            return
        try:
            for each in self._watched:
                if each.finding is None:
                    each.look()
                self._tell(each)
            self._ended = True
        except Exception as error:  # noqa: BLE001 - said in the report; the script's own end goes on
            self._problem = tr("the last look failed: {reason}", reason=_in_one_line(error))
        self._write()

    def _write(self) -> None:
        """Replace the file of this process by what is known now."""
        self._rank = _rank() or self._rank
        facts = {
            "pid": self._pid,
            "script": sys.argv[0] if getattr(sys, "argv", None) else "",
            "steps": self._steps,
            "ended": self._ended,
            "problem": packed(self._problem),
            "rank": self._rank,
            "modules": [each.facts for each in self._watched],
        }
        path = os.path.join(self._folder, f"{self._pid}.json")
        # what outlives the command, as a server that it started may, has nobody to report to
        with contextlib.suppress(OSError):
            with open(f"{path}.new", "w", encoding="utf-8") as file:
                json.dump(facts, file)
            _replace(f"{path}.new", path)


def _replace(new: str, path: str) -> None:
    """Put a file in the place of another one, which Windows allows only while nobody reads that."""
    for _ in range(50):
        with contextlib.suppress(PermissionError):
            os.replace(new, path)
            return
        time.sleep(0.02)


def _rank() -> dict[str, Any] | None:
    """Return which process of which group this is; None where it is alone."""
    from vqcheck.live.ranks import several_ranks

    if not several_ranks():
        return None
    from torch import distributed

    around = [os.environ.get(name, "") for name in _GROUP]
    size = distributed.get_world_size()
    group = " ".join([str(os.getppid()), str(size), *around])
    return {"number": distributed.get_rank(), "of": size, "group": group}


def _is_compiling() -> bool:
    """Tell whether torch.compile is tracing. Of this shape, since that must see through it."""
    return _HAS_COMPILER and torch.compiler.is_compiling()


def _in_one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _say(text: str) -> None:
    print(f"vqcheck: {text}", file=sys.stderr, flush=True)
