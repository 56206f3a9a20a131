"""Callbacks for transformers' Trainer that freeze, guard or measure the codebooks of what it trains.

    Trainer(..., callbacks=[TransformersFreeze(), TransformersGuard(every=20), TransformersMonitor(sinks=["use.csv"])])

Each looks at the whole model, or at the part that `module` names.  What guard and monitor know of a run stands in the
`trainer_state.json` of each checkpoint, and goes on with `train(resume_from_checkpoint=...)`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from transformers import TrainerCallback

from vqcheck.errors import UsageError
from vqcheck.live.freeze import Encoder, Frozen, freeze
from vqcheck.live.guard import DEFAULT_EVERY, Action, Guard
from vqcheck.live.monitor import Monitor, OnCollapse
from vqcheck.live.monitor_record import Sink

if TYPE_CHECKING:
    from torch import nn

Watch = TypeVar("Watch", Guard, Monitor)


class TransformersFreeze(TrainerCallback):  # type: ignore[misc]
    """Holds the codebooks from the making of the Trainer on, before it wraps the model for several processes.

    Raises, when training begins, what `vqcheck.freeze` raises.
    """

    def __init__(self, encoder: Encoder = "eval", module: str = "") -> None:
        self.frozen: Frozen | None = None
        """What is held; `frozen.remove()` lets it go."""
        self._encoder: Encoder = encoder
        self._module = module

    def on_init_end(self, args: Any, state: Any, control: Any, model: nn.Module | None = None, **_: Any) -> None:  # noqa: ARG002
        """Freeze the model that the Trainer was given, unless its weights come with a checkpoint."""
        if model is None:
            return
        try:
            self._freeze(model)
        except UsageError:
            # an untrained codebook: on_train_begin says it if no checkpoint filled it
            self.frozen = None

    def on_train_begin(self, args: Any, state: Any, control: Any, model: nn.Module, **_: Any) -> None:  # noqa: ARG002
        """Freeze what was not there before."""
        if self.frozen is None or self.frozen.module is not model.get_submodule(self._module):
            self._freeze(model)

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        """Warn of what is not held any more."""
        if self.frozen:
            self.frozen.check()

    def _freeze(self, model: nn.Module) -> None:
        self.frozen = freeze(model.get_submodule(self._module), self._encoder)


class _Watching(TrainerCallback, Generic[Watch]):  # type: ignore[misc]
    """Makes a guard or monitor when training begins, and steps it after every step of the optimizer."""

    key: str
    """Under which name its state stands in the Trainer's."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._watch: Watch | None = None

    @abstractmethod
    def _make(self, module: nn.Module, *, sends: bool) -> Watch:
        """Return what looks at a module; of several processes one sends."""

    def on_train_begin(self, args: Any, state: Any, control: Any, model: nn.Module, **_: Any) -> None:  # noqa: ARG002
        """Begin, when weights are loaded and stand where they are trained."""
        self._watch = self._make(model.get_submodule(self._module), sends=state.is_world_process_zero)
        resumed = state.stateful_callbacks.get(self.key)
        if resumed:
            self._watch.load_state_dict(resumed)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Count a step, and put the state where the Trainer saves it."""
        if self._watch:
            self._watch.step()
            state.stateful_callbacks[self.key] = self._watch.state_dict()

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Look at what came since the last look."""
        if self._watch:
            self._watch.__exit__(None, None, None)


class TransformersGuard(_Watching[Guard]):
    """Raises CodebookChanged out of `train`, or does what `action` says, when the VQ encoder changes.

    After a resume the VQ encoder must be the one that was guarded before.
    """

    key = "vqcheck.guard"

    def __init__(self, every: int = DEFAULT_EVERY, action: Action = "raise", module: str = "") -> None:
        super().__init__(module)
        self._every = every
        self._action: Action = action

    @property
    def guard(self) -> Guard | None:
        """The guard of the last training."""
        return self._watch

    def _make(self, module: nn.Module, *, sends: bool) -> Guard:  # noqa: ARG002
        return Guard(module, self._every, self._action)


class TransformersMonitor(_Watching[Monitor]):
    """Measures use, collapse and movement of the codebooks, for `sinks`; of several processes only the first sends."""

    key = "vqcheck.monitor"

    def __init__(
        self,
        every: int = DEFAULT_EVERY,
        sinks: Sequence[Sink] = (),
        on_collapse: OnCollapse = "ignore",
        module: str = "",
    ) -> None:
        super().__init__(module)
        self._every = every
        self._sinks = tuple(sinks)
        self._on_collapse: OnCollapse = on_collapse

    @property
    def monitor(self) -> Monitor | None:
        """The monitor of the last training."""
        return self._watch

    def _make(self, module: nn.Module, *, sends: bool) -> Monitor:
        return Monitor(module, self._every, self._sinks if sends else (), self._on_collapse)
