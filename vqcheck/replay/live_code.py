"""A user's training code in this process, with every use of its codebook."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from vqcheck.codebook.family import ARGMAX, CODES, COSINE, STORED
from vqcheck.errors import UsageError
from vqcheck.replay.callers import CallerWatch
from vqcheck.replay.observed import NOT_A_NUMBER, StepReport
from vqcheck.replay.own_code import OwnCode, make
from vqcheck.replay.own_error import in_one_line
from vqcheck.replay.trace import COMPUTED, NOT_REPORTED
from vqcheck.replay.watch import Watch
from vqcheck.runtime.first_write import WriteCatcher
from vqcheck.runtime.live import LiveTensor, find_live_encoder

COMMIT_LOSS = "commit_loss"


class LiveCode:
    """What a factory returned, step by step."""

    def __init__(self, factory: Callable[[], OwnCode], name: str, seed: int) -> None:
        self._name = name
        torch.manual_seed(seed)
        self._code = make(factory, name)
        self._codes = next(filter(_is_looked_up, find_live_encoder(self.module).tensors), None)
        self._probe = self._checked_probe()

    @property
    def module(self) -> nn.Module:
        return self._code.module

    @property
    def probe_size(self) -> int:
        """Frames of the probe, 0 without one."""
        return 0 if self._probe is None else len(self._probe)

    def step(self, number: int, watch: Watch | None) -> StepReport:
        """Train once; with a watch, tell what wrote to its tensors.

        Raises:
            UsageError: the step raised, or returned no losses by name.

        """
        use = UseWatcher(watch) if watch else None
        callers = CallerWatch(watch) if watch else None
        catcher = WriteCatcher(callers) if callers else None
        begun = time.perf_counter()
        with ExitStack() as stack:
            if use and catcher:
                # the catcher goes inside: it takes the line below it on the stack for the user's
                stack.enter_context(use)
                stack.enter_context(catcher)
            try:
                given = self._code.step(number)
            except Exception as error:
                raise UsageError(f"factory {self._name}: step {number} raised {in_one_line(error)}") from error
        losses = self._read(given, number)
        commit_loss = losses.pop(COMMIT_LOSS, NOT_A_NUMBER)
        return StepReport(
            losses=losses,
            commit_loss=commit_loss,
            commit_loss_state=COMPUTED if COMMIT_LOSS in given else NOT_REPORTED,
            seconds=None if watch else time.perf_counter() - begun,
            writes=catcher.first if catcher else {},
            callers=callers.callers if callers else {},
            uses_codebook=bool(use and use.used),
        )

    @torch.no_grad()
    def probe_tokens(self) -> Tensor | None:
        """Return the number of the nearest code for each frame of the probe, `[N]`."""
        if self._probe is None:
            return None
        codes = self._stored_codes()
        return torch.cdist(self._probe.to(codes), codes).argmin(dim=1)

    def _stored_codes(self) -> Tensor:
        """Return the codes of the first lookup (the first head's, where there are several), `[codes, dim]`."""
        if self._codes is None:
            raise UsageError(f"factory {self._name}: its codes are not stored as such, so no probe can be followed")
        stored = self.module.state_dict()[self._codes.name].detach().float()
        canonical = stored.permute(self._codes.axes) if self._codes.axes else stored
        first = canonical.reshape(self._codes.shape)[0]
        return functional.normalize(first, dim=1) if self._codes.family.metric == COSINE else first

    def _checked_probe(self) -> Tensor | None:
        probe = getattr(self._code, "probe", None)
        if probe is None:
            return None
        dim = self._stored_codes().shape[1]
        if not isinstance(probe, Tensor) or probe.dim() != 2 or probe.shape[1] != dim:
            given = list(probe.shape) if isinstance(probe, Tensor) else type(probe).__name__
            raise UsageError(
                f"factory {self._name}: its probe must be frames [N, {dim}] as they reach the codes, given {given}"
            )
        return probe.detach().float()

    def _read(self, given: object, number: int) -> dict[str, float]:
        if isinstance(given, Mapping):
            try:
                return {str(name): _number(value) for name, value in given.items()}
            except (TypeError, ValueError, RuntimeError):
                pass
        raise UsageError(f"factory {self._name}: step {number} must return losses by name, each a number or a scalar")


def _is_looked_up(tensor: LiveTensor) -> bool:
    """Say whether these are codes as they are stored, of which the nearest to a frame is its token."""
    return tensor.role == CODES and tensor.family.derivation == STORED and tensor.family.metric != ARGMAX


class UseWatcher(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While active, notes whether any operator computes with, or writes to, a watched tensor."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._watch = watch
        self.used = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if not self.used and not _is_view(func):
            watched = {tensor.untyped_storage().data_ptr() for tensor in self._watch.tensors().values()}
            self.used = any(tensor.untyped_storage().data_ptr() in watched for tensor in _tensors((args, kwargs)))
        return func(*args, **kwargs)


def _number(value: Any) -> float:
    return float(value.detach() if isinstance(value, Tensor) else value)


def _is_view(func: Any) -> bool:
    """Tell whether an operator only looks at a tensor in another way, as `detach` does."""
    returned = func._schema.returns  # noqa: SLF001 - the only place that says so
    return bool(returned) and all(each.alias_info and not each.alias_info.is_write for each in returned)


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value] if value.layout == torch.strided else []
    if isinstance(value, Mapping):
        value = list(value.values())
    return [tensor for each in value for tensor in _tensors(each)] if isinstance(value, (list, tuple)) else []
