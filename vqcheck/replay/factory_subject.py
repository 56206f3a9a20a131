"""The subject that can be any training code: what a factory returns, run in this process.

`[subject] factory = "package.module:function"` names a function without arguments, importable from the working
directory. It is called once for each arm, with torch seeded the same each time, and returns an object with

- `module`: the `torch.nn.Module` whose codebook is watched; the codebook is found under its names, as in a checkpoint;
- `step(number)`: trains once, counted from 1, and returns its losses by name, each a number or a scalar tensor. One
  called `commit_loss` is shown as such;
- `probe`, if it likes: frames `[N, dim]` as they reach the codebook. Their tokens, the nearest codes, are followed
  through the training. No code of yours runs for that, so it writes nothing.

Under torchrun every process calls the factory, with the process group already there (gloo on the CPU, nccl on CUDA),
and the VQ encoder is compared across them after each step. Shards of the data and DistributedDataParallel are the
code's.

`fixtures/factories` has examples. Everything else (data, optimizer, device, train mode) is the code's own business.
"""

import contextlib
import importlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from vqcheck.codebook.family import Derivation, Metric, Role
from vqcheck.errors import UsageError
from vqcheck.experiment.config import Config
from vqcheck.language import tr
from vqcheck.live.encoder import LiveEncoder, LiveTensor, find
from vqcheck.live.first_write import WriteCatcher
from vqcheck.replay.strategies import Strategy
from vqcheck.replay.subject import NOT_A_NUMBER, StepReport, Subject, in_one_line
from vqcheck.replay.surroundings import process_group, world_size
from vqcheck.replay.trace import CommitLossState, PartMoves, Setting

COMMIT_LOSS: Final = "commit_loss"
_DECIDED_BY_FACTORY: Final = ("data", "training", "model", "discriminator", "spectrogram")


class FactoryCode(Protocol):
    """What a factory returns; `probe` may be left out."""

    @property
    def module(self) -> nn.Module:
        """The module that holds the codebook."""

    def step(self, number: int) -> Mapping[str, "Tensor | float"]:
        """Train once, and return the losses by name."""


def load_factory(name: str) -> Callable[[], FactoryCode]:
    """Return the function that `package.module:function` names.

    Raises:
        UsageError: it cannot be imported, or there is no such function.

    """
    module_name, _, function_name = name.partition(":")
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:
        raise UsageError(
            tr(
                "factory {name}: {module} cannot be imported: {reason}",
                name=name,
                module=module_name,
                reason=in_one_line(error),
            )
        ) from error
    for part in function_name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise UsageError(
            tr(
                "factory {name}: {module} has no function {function}",
                name=name,
                module=module_name,
                function=function_name,
            )
        )
    function: Callable[[], FactoryCode] = found
    return function


def make(factory: Callable[[], FactoryCode], name: str) -> FactoryCode:
    """Call a factory, and check what it returned.

    Raises:
        UsageError: it raised, or its result does not fill in the protocol.

    """
    try:
        code = factory()
    except Exception as error:
        raise UsageError(tr("factory {name}: {reason}", name=name, reason=in_one_line(error))) from error
    if not isinstance(getattr(code, "module", None), nn.Module):
        raise UsageError(tr("factory {name}: what it returned has no torch.nn.Module under .module", name=name))
    if not callable(getattr(code, "step", None)):
        raise UsageError(tr("factory {name}: what it returned has no method step(number)", name=name))
    return code


class FactorySubject(Subject):
    """Calls the factory anew for each arm."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._name = str(config.subject.factory)
        self._last: FactoryTraining | None = None

    @contextlib.contextmanager
    def opened(self, save: str | None) -> Iterator[None]:
        self._refuse_what_has_no_meaning(save)
        load_factory(self._name)
        with torch.random.fork_rng(), process_group(None):
            yield

    def start(self, strategy: Strategy) -> "FactoryTraining":
        self._last = None  # its memory is free before another one is made
        torch.manual_seed(self.config.replay.seed)
        code = make(load_factory(self._name), self._name)
        self._last = FactoryTraining(code, self._name)
        strategy.apply(code.module)
        return self._last

    def setting(self) -> Setting:
        last = self._last
        return Setting(
            subject="factory",
            weights=tr("as the factory makes them"),
            data=tr("as its step takes them"),
            steps=self.config.replay.steps,
            batch_size=None,
            seed=self.config.replay.seed,
            device=str(next(iter(last.module.state_dict().values())).device) if last else "",
            precision=None,
            processes=world_size(),
            torch=str(torch.__version__),
            probe_tokens=last.probe_size if last else 0,
            code=self._name,
        )

    def _refuse_what_has_no_meaning(self, save: str | None) -> None:
        config = self.config
        for section in _DECIDED_BY_FACTORY:
            if getattr(config, section) != type(getattr(config, section))():
                raise UsageError(
                    tr(
                        "subject.factory: its own code decides, so nothing under {section} has an effect",
                        section=section,
                    )
                )
        if config.replay.device != "auto" or config.replay.precision != "auto":
            raise UsageError(tr("subject.factory: its own code decides on device and precision"))
        if save:
            raise UsageError(
                tr("subject.factory: --save writes checkpoints of the synthesizer; save your own in step()")
            )


class FactoryTraining:
    """What a factory returned, step by step."""

    def __init__(self, code: FactoryCode, name: str) -> None:
        self._code, self._name = code, name
        self._encoder = find(code.module)
        self._codes = next(filter(_is_looked_up, self._encoder.tensors), None)
        self._probe = self._checked_probe()

    @property
    def module(self) -> nn.Module:
        return self._code.module

    @property
    def probe_size(self) -> int:
        """Frames of the probe, 0 without one."""
        return 0 if self._probe is None else len(self._probe)

    def step(self, number: int, traced: LiveEncoder | None) -> StepReport:
        catcher = WriteCatcher(traced) if traced else None
        begun = time.perf_counter()
        with catcher or contextlib.nullcontext():
            try:
                given = self._code.step(number)
            except Exception as error:
                raise UsageError(
                    tr(
                        "factory {name}: step {number} raised {reason}",
                        name=self._name,
                        number=number,
                        reason=in_one_line(error),
                    )
                ) from error
        losses = self._read(given, number)
        commit_loss = losses.pop(COMMIT_LOSS, NOT_A_NUMBER)
        return StepReport(
            losses=losses,
            commit_loss=commit_loss,
            commit_loss_state=CommitLossState.COMPUTED if COMMIT_LOSS in given else CommitLossState.NOT_REPORTED,
            seconds=None if catcher else time.perf_counter() - begun,
            writes=catcher.first if catcher else {},
            uses_codebook=bool(catcher and catcher.used),
        )

    @torch.no_grad()
    def probe_tokens(self) -> Tensor | None:
        """Return the number of the nearest code for each frame of the probe, `[N]`; -1 where the codes are gone."""
        if self._probe is None:
            return None
        codes = self._first_codes()
        if codes is None:
            return torch.full((len(self._probe),), -1)
        return torch.cdist(self._probe.to(codes), codes).argmin(dim=1).cpu()

    def moved_parameters(self) -> tuple[PartMoves, ...]:
        return ()

    def _first_codes(self) -> Tensor | None:
        """Return the codes of the first lookup (the first head's, where there are several), `[codes, dim]`."""
        if self._codes is None:
            raise UsageError(
                tr("factory {name}: its codes are not stored as such, so no probe can be followed", name=self._name)
            )
        stored = self._encoder.now().get(self._codes.name)
        if stored is None or tuple(stored.shape) != self._codes.stored_shape:
            return None
        first = self._codes.canonical(stored)[0].float()
        return functional.normalize(first, dim=1) if self._codes.family.metric == Metric.COSINE else first

    def _checked_probe(self) -> Tensor | None:
        probe = getattr(self._code, "probe", None)
        if probe is None:
            return None
        codes = self._first_codes()
        dim = 0 if codes is None else codes.shape[1]
        if not isinstance(probe, Tensor) or probe.dim() != 2 or probe.shape[1] != dim:
            given = list(probe.shape) if isinstance(probe, Tensor) else type(probe).__name__
            raise UsageError(
                tr(
                    "factory {name}: its probe must be frames [N, {dim}] as they reach the codes, given {given}",
                    name=self._name,
                    dim=dim,
                    given=given,
                )
            )
        return probe.detach().float()

    def _read(self, given: object, number: int) -> dict[str, float]:
        if isinstance(given, Mapping):
            try:
                return {str(name): _number(value) for name, value in given.items()}
            except (TypeError, ValueError, RuntimeError):
                pass
        raise UsageError(
            tr(
                "factory {name}: step {number} must return losses by name, each a number or a scalar",
                name=self._name,
                number=number,
            )
        )


def _is_looked_up(tensor: LiveTensor) -> bool:
    """Say whether these are codes as they are stored, of which the nearest to a frame is its token."""
    return (
        tensor.role == Role.CODES
        and tensor.family.derivation == Derivation.STORED
        and tensor.family.metric != Metric.ARGMAX
    )


def _number(value: Any) -> float:
    return float(value.detach() if isinstance(value, Tensor) else value)
