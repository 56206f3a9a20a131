"""Notices when the VQ encoder of a live model changes: `vqcheck.guard(net_g)`, and `step()` after each training step.

    with vqcheck.guard(net_g) as codebook:
        for batch in loader:
            train_on(batch)
            codebook.step()

Each step compares every tensor of the VQ encoder with one copy taken at the start, bit by bit and on the device; every
`every` steps the host reads the outcome.  Whatever wrote is noticed: `.data`, load_state_dict, an alias in numpy,
another tensor under the same name.  A change of dtype is a change; a move to another device is followed.

With several processes (torch.distributed, data-parallel) the look also compares them, and all of them raise together:
every process must make a guard and call `step()` equally often, or each looks at itself alone (`ranks="own"`).  Tensors
sharded over processes are not supported.

`state_dict()` and `load_state_dict()` carry the count of steps, and the digest of what is guarded, over a resume.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Literal, Union

from torch import nn

from vqcheck.errors import CodebookChanged, UsageError
from vqcheck.live.encoder import find
from vqcheck.live.first_change import FirstChanges
from vqcheck.live.first_write import WriteCatcher
from vqcheck.live.ranks import Ranks, compare_ranks, require_ranks, several_ranks
from vqcheck.live.tensor_change import GuardFinding, TensorChange, Write
from vqcheck.live.watch import EncoderWatch
from vqcheck.notebook import html_table

DEFAULT_EVERY: Final = 20

Action = Union[Literal["raise", "warn"], Callable[[CodebookChanged], object]]  # noqa: UP007 - Python 3.9


def guard(module: nn.Module, every: int = DEFAULT_EVERY, action: Action = "raise", ranks: Ranks = "compare") -> Guard:
    """Watch the VQ encoder of a model from now on, as it is now: call this when the weights are loaded.

    `every` is the number of steps between two looks of the host.  `action` is what happens at the first look that finds
    a change: "raise" a CodebookChanged, "warn" with a RuntimeWarning, or a callable that gets the CodebookChanged.  It
    happens one step after the look, since that step is watched for the line that writes.  With `ranks="compare"` a look
    of one of several processes asks the others, with "own" none.

    Raises:
        NoCodebookError: no VQ encoder is known under the module's names.
        UsageError: the codebook was never trained, so that it is bound to change; it is sharded over processes or on
            the meta device; or a request that makes no sense.

    """
    return Guard(module, every, action, ranks)


def steps_of(state: Mapping[str, Any]) -> int:
    """Return the number of steps in what a `state_dict()` returned; raise UsageError where there is none."""
    steps = state.get("steps") if isinstance(state, Mapping) else None
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 0:
        raise UsageError(
            f"load_state_dict: expected what state_dict() returned, with a number of steps, given {state!r}"
        )
    return steps


class Guard:
    """What `guard` returns: a context manager, or a plain object with `step()` and `check()`."""

    def __init__(
        self, module: nn.Module, every: int = DEFAULT_EVERY, action: Action = "raise", ranks: Ranks = "compare"
    ) -> None:
        if not isinstance(every, int) or every < 1:
            raise UsageError(f"every: expected a number of steps, 1 or more, given {every!r}")
        if action not in ("raise", "warn") and not callable(action):
            raise UsageError(f"action: expected 'raise', 'warn' or a callable, given {action!r}")
        require_ranks(ranks)
        self._ranks = ranks
        self._encoder = find(module)
        self._encoder.require_whole()
        self._encoder.require_trained()
        self._every = every
        self._action = action
        self._watch = EncoderWatch(self._encoder)
        self._changes = FirstChanges(self._watch)
        self._finding: GuardFinding | None = None
        self._catcher: WriteCatcher | None = None
        self._error: CodebookChanged | None = None
        self._digests: dict[str, str] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the watched tensors."""
        return tuple(tensor.name for tensor in self._encoder.tensors)

    @property
    def in_front_is_known(self) -> bool:
        """Whether nothing but what is watched can stand between features and a lookup."""
        return self._encoder.in_front_is_known

    @property
    def steps(self) -> int:
        """How often `step()` was called, before a resume included."""
        return self._changes.steps

    def step(self) -> None:
        """Compare after a training step; at every `every`-th call wait for the outcome of all of them.

        Raises:
            CodebookChanged: with the action "raise", once a change is found, and at every later call.

        """
        if self._is_over():
            return
        self._changes.step(self._encoder.current())
        if self._finding:
            self._report(self._finding)
        elif self.steps % self._every == 0:
            self._finding = self._look()
            if self._finding:
                self._catcher = WriteCatcher(self._encoder)
                self._catcher.start()

    def check(self) -> None:
        """Compare and look now, whatever the number of steps.  With several processes all of them must call it.

        Raises:
            CodebookChanged: as for `step`; the writing line is known only if a step since the last look was watched.

        """
        if self._is_over():
            return
        if self._finding is None:
            self._changes.look(self._encoder.current())
            self._finding = self._look()
        if self._finding:
            self._report(self._finding)

    def state_dict(self) -> dict[str, Any]:
        """Return the number of steps, and the digest of each tensor as it was at the start; needs no other process."""
        if not self._digests and self._watch.start:
            from vqcheck.live.module_checkpoint import tensor_digests

            self._digests = tensor_digests(self._encoder, self._watch.start)
        return {"steps": self.steps, "digests": dict(self._digests)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on counting where a checkpoint's guard was; call it before the first step, on a resumed model.

        Raises:
            CodebookChanged: or what `action` says: the VQ encoder is not the one that was guarded then.
            UsageError: this is no state of a guard.

        """
        steps, before = steps_of(state), state.get("digests")
        if not isinstance(before, Mapping):
            raise UsageError("load_state_dict: expected what state_dict() of a guard returned; digests is missing")
        now = self.state_dict()["digests"]
        self._changes = FirstChanges(self._watch, steps)
        names = {each.label: each.name for each in self._encoder.tensors}
        changes = [
            TensorChange(names.get(label, label), self.steps + 1, 0, 0, 0.0, "was another one before the resume")
            for label in dict.fromkeys([*before, *now])
            if before and before.get(label) != now.get(label)
        ]
        if changes:
            self._finding = GuardFinding(self.steps, tuple(changes))
            names_then = ", ".join(change.name for change in changes)
            self._report(
                self._finding,
                "the VQ encoder is not the one that was guarded before the training was resumed after step "
                f"{self.steps}; it differs in {names_then}",
            )

    def __repr__(self) -> str:
        return f"<guard on {len(self.names)} tensors: {self._state}>"

    def _repr_html_(self) -> str:
        changes = {change.name: change for change in self._finding.changes} if self._finding else {}
        rows = (
            (each.label, each.name, str(changes[each.name]).partition(": ")[2] if each.name in changes else "")
            for each in self._encoder.tensors
        )
        return html_table(f"guard: {self._state}", ("tensor", "name", "change"), rows)

    @property
    def _state(self) -> str:
        """What is known without waiting for the device."""
        if self._finding:
            return f"changed in step {self._finding.step}"
        looked = self.steps - self.steps % self._every
        return f"no change found after {looked} of {self.steps} steps"

    def __enter__(self) -> Guard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.check()
        else:
            self._stop_catching()

    def _is_over(self) -> bool:
        """Tell whether all was said; with the action "raise" say it again, so that no training goes on unnoticed."""
        if self._error and self._action == "raise":
            raise self._error
        return self._error is not None

    def _look(self) -> GuardFinding | None:
        """Wait for the device and return what changed, on any rank."""
        first_steps, ranks = self._changes.read(), {}
        if self._ranks == "compare" and several_ranks():
            across = compare_ranks(first_steps, self._encoder.now(), self.names, max(self.steps, 1))
            first_steps, ranks = dict(across.first_steps), dict(across.ranks)
        if not first_steps:
            return None
        looked = dict(zip(self.names, self._watch.look()))  # noqa: B905 - Python 3.9
        changes = []
        for name in sorted(first_steps, key=lambda name: (first_steps[name], self.names.index(name))):
            problem, seen = self._changes.problems.get(name, ""), looked[name]
            size = (0, 0, 0.0) if problem else (seen.rows, seen.rows_changed, seen.max_abs)
            changes.append(TensorChange(name, first_steps[name], *size, problem, ranks.get(name, ())))
        return GuardFinding(self.steps, tuple(changes), self._conversion())

    def _conversion(self) -> tuple[str, str] | None:
        """Return from which dtype to which other one all of it was converted."""
        now = self._encoder.current()
        pairs = {
            (start.dtype, now[name].dtype if name in now else None)
            for name, start in self._watch.start.items()
            if start.is_floating_point()
        }
        kinds = [str(kind).partition(".")[2] for kind in next(iter(pairs))] if len(pairs) == 1 else ["", ""]
        return (kinds[0], kinds[1]) if all(kinds) and kinds[0] != kinds[1] else None

    def _stop_catching(self) -> dict[str, Write]:
        catcher, self._catcher = self._catcher, None
        if catcher is None:
            return {}
        catcher.stop()
        return catcher.first

    def _report(self, finding: GuardFinding, text: str = "") -> None:
        finding = finding.with_writes(self._stop_catching())
        self._error = CodebookChanged(text or str(finding), finding)
        self._changes.let_go()
        if self._action == "raise":
            raise self._error
        if self._action == "warn":
            warnings.warn(str(self._error), RuntimeWarning, stacklevel=3)
        elif callable(self._action):
            self._action(self._error)
