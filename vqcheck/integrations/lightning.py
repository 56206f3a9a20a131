"""Callbacks for Lightning that freeze, guard or measure the codebooks of what a Trainer fits.

    Trainer(callbacks=[LightningFreeze(), LightningGuard(every=20), LightningMonitor(on_collapse="warn")])

Each looks at the whole LightningModule, or at the part that `module` names, such as "net_g".  What guard and monitor
know of a run stands in Lightning's checkpoints, and goes on with `fit(ckpt_path=...)`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

try:
    from lightning.pytorch import Callback
except ImportError:
    from pytorch_lightning import Callback

from vqcheck.errors import NoCodebookError, UsageError
from vqcheck.live.freeze import Encoder, Frozen, freeze
from vqcheck.live.guard import DEFAULT_EVERY, Action, Guard
from vqcheck.live.monitor import Monitor, OnCollapse
from vqcheck.live.monitor_record import MonitorRecord, Sink
from vqcheck.live.train_override import TrainOverride, train_overrides

if TYPE_CHECKING:
    from torch import nn

Watch = TypeVar("Watch", Guard, Monitor)


class LightningFreeze(Callback):  # type: ignore[misc]
    """Holds the codebooks from before the first step on; a run that is resumed, as its checkpoint has them.

    Raises, when the fit begins, what `vqcheck.freeze` raises.
    """

    def __init__(self, encoder: Encoder = "eval", module: str = "") -> None:
        self.frozen: Frozen | None = None
        """What is held; `frozen.remove()` lets it go."""
        self._encoder: Encoder = encoder
        self._module = module
        self._asked: list[tuple[TrainOverride, bool]] = []

    def setup(self, trainer: Any, pl_module: nn.Module, stage: str) -> None:  # noqa: ARG002
        """Freeze before the model is wrapped for several processes."""
        if stage == "fit":
            try:
                self._freeze(pl_module)
            except (NoCodebookError, UsageError):
                # configure_model may make the model yet, and a checkpoint fill it; if not, on_fit_start says it
                self.frozen = None

    def on_load_checkpoint(self, trainer: Any, pl_module: nn.Module, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002
        """Freeze what was loaded."""
        if trainer.state.fn == "fit":
            self._freeze(pl_module)

    def on_fit_start(self, trainer: Any, pl_module: nn.Module) -> None:  # noqa: ARG002
        """Freeze what was not there before."""
        if self.frozen is None or self.frozen.module is not pl_module.get_submodule(self._module):
            self._freeze(pl_module)

    def on_train_batch_end(self, *_: Any) -> None:
        """Note the modes that were asked for, before a validation."""
        self._note_modes()

    def on_validation_end(self, *_: Any) -> None:
        """Give back the modes from before, since Lightning writes `training` without a call of train()."""
        for held, asked in self._asked:
            held.asked = asked

    def on_train_epoch_start(self, *_: Any) -> None:
        """Warn of what is not held any more."""
        if self.frozen:
            self.frozen.check()

    def _freeze(self, pl_module: nn.Module) -> None:
        self.frozen = freeze(pl_module.get_submodule(self._module), self._encoder)
        self._note_modes()

    def _note_modes(self) -> None:
        if self.frozen:
            self._asked = [(held, held.asked) for held in train_overrides(self.frozen.module)]


class _Watching(Callback, Generic[Watch]):  # type: ignore[misc]
    """Makes a guard or monitor when training starts, and steps it after every batch."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._watch: Watch | None = None
        self._resumed: dict[str, Any] = {}

    @abstractmethod
    def _make(self, trainer: Any, module: nn.Module) -> Watch:
        """Return what looks at a module."""

    def on_train_start(self, trainer: Any, pl_module: nn.Module) -> None:
        """Begin, when weights are loaded and stand where they are trained."""
        self._watch = self._make(trainer, pl_module.get_submodule(self._module))
        resumed, self._resumed = self._resumed, {}
        if resumed:
            self._watch.load_state_dict(resumed)

    def on_train_batch_end(self, *_: Any) -> None:
        """Count a batch."""
        if self._watch:
            self._watch.step()

    def on_train_end(self, *_: Any) -> None:
        """Look at what came since the last look."""
        if self._watch:
            self._watch.__exit__(None, None, None)

    def on_exception(self, trainer: Any, pl_module: nn.Module, exception: BaseException) -> None:  # noqa: ARG002
        """Stop without a look, so that the exception stays the one that is seen."""
        if self._watch:
            self._watch.__exit__(type(exception), exception, None)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs to know."""
        return dict(self._watch.state_dict()) if self._watch else self._resumed

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep it until training starts."""
        self._resumed = dict(state_dict)


class LightningGuard(_Watching[Guard]):
    """Raises CodebookChanged out of `fit`, or does what `action` says, when the VQ encoder changes.

    Steps are batches. After a resume the VQ encoder must be the one that was guarded before.
    """

    def __init__(self, every: int = DEFAULT_EVERY, action: Action = "raise", module: str = "") -> None:
        super().__init__(module)
        self._every = every
        self._action: Action = action

    @property
    def guard(self) -> Guard | None:
        """The guard of the last fit."""
        return self._watch

    def _make(self, trainer: Any, module: nn.Module) -> Guard:  # noqa: ARG002
        return Guard(module, self._every, self._action)


class LightningMonitor(_Watching[Monitor]):
    """Measures use, collapse and movement of the codebooks, for the Trainer's loggers and for `sinks`.

    Steps are batches; loggers get the Trainer's own step. Of several processes only the first one sends.
    """

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
        """The monitor of the last fit."""
        return self._watch

    def _make(self, trainer: Any, module: nn.Module) -> Monitor:
        def to_loggers(record: MonitorRecord) -> None:
            for logger in trainer.loggers:
                logger.log_metrics(record.scalars(), step=trainer.global_step)

        sinks = (to_loggers, *self._sinks) if trainer.is_global_zero else ()
        return Monitor(module, self._every, sinks, self._on_collapse)
