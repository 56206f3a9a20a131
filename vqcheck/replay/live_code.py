"""A user's training code in this process, with every use of its codebook."""

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vqcheck.codebook.family import ARGMAX, CODES, COSINE, STORED
from vqcheck.errors import UsageError
from vqcheck.live.encoder import LiveEncoder, LiveTensor, find
from vqcheck.live.first_write import WriteCatcher
from vqcheck.replay.observed import NOT_A_NUMBER, StepReport
from vqcheck.replay.own_code import OwnCode, make
from vqcheck.replay.own_error import in_one_line
from vqcheck.replay.trace import COMPUTED, NOT_REPORTED

COMMIT_LOSS = "commit_loss"


class LiveCode:
    """What a factory returned, step by step."""

    def __init__(self, factory: Callable[[], OwnCode], name: str, seed: int) -> None:
        self._name = name
        torch.manual_seed(seed)
        self._code = make(factory, name)
        self._encoder = find(self.module)
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
        """Train once; with a VQ encoder to be traced, tell what wrote to its tensors.

        Raises:
            UsageError: the step raised, or returned no losses by name.

        """
        catcher = WriteCatcher(traced) if traced else None
        begun = time.perf_counter()
        with catcher or nullcontext():
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

    def _first_codes(self) -> Tensor | None:
        """Return the codes of the first lookup (the first head's, where there are several), `[codes, dim]`."""
        if self._codes is None:
            raise UsageError(f"factory {self._name}: its codes are not stored as such, so no probe can be followed")
        stored = self._encoder.now().get(self._codes.name)
        if stored is None or tuple(stored.shape) != self._codes.stored_shape:
            return None
        first = self._codes.canonical(stored)[0].float()
        return functional.normalize(first, dim=1) if self._codes.family.metric == COSINE else first

    def _checked_probe(self) -> Tensor | None:
        probe = getattr(self._code, "probe", None)
        if probe is None:
            return None
        codes = self._first_codes()
        dim = 0 if codes is None else codes.shape[1]
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


def _number(value: Any) -> float:
    return float(value.detach() if isinstance(value, Tensor) else value)
