"""Lets a held quantizer run in train mode on copies of its codebook: the encoder in front learns, the codes stay.

Most quantizers pass a gradient to the encoder, and compute their commitment loss, in train mode only, where they also
write their codebook.  Here they write copies, which are dropped after every forward.  Outside its forward the quantizer
is in eval mode, so whatever does not go through its forward finds it as a plain `freeze` leaves it.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vqcheck.errors import UsageError
from vqcheck.live.train_override import TrainOverride, train_override


class ScratchForward:
    """Stands in the way of one held module's `forward`. An attribute of the instance, as `TrainOverride` is."""

    def __init__(self, module: nn.Module) -> None:
        self._module = weakref.ref(module)
        self._replaced = module.__dict__.get("forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the module's own forward, in the mode that was last asked for."""
        module = self._module()
        held = train_override(module) if module is not None else None
        if module is None or held is None:
            raise UsageError("this module is a copy of a frozen one: freeze the copy itself")
        forward = self._replaced or type(module).forward.__get__(module)
        if held.in_scratch or not held.asked:
            return forward(*args, **kwargs)
        with _scratch(module):
            return forward(*args, **kwargs)

    def release(self, module: nn.Module) -> None:
        """Give the module back its `forward`."""
        del module.__dict__["forward"]
        if self._replaced is not None:
            module.__dict__["forward"] = self._replaced

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_module": self._module()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _module=weakref.ref(state["_module"]))


def scratch_forward(module: nn.Module) -> ScratchForward | None:
    """Return what lets a module run on copies, if it does."""
    found = module.__dict__.get("forward")
    return found if isinstance(found, ScratchForward) else None


def run_on_copies(module: nn.Module) -> None:
    """Let a held module run on copies of its codebook from now on."""
    if scratch_forward(module) is None:
        module.__dict__["forward"] = ScratchForward(module)


def run_on_originals(module: nn.Module) -> None:
    """Undo `run_on_copies`; nothing happens where it was not done."""
    found = scratch_forward(module)
    if found:
        found.release(module)


@contextmanager
def _scratch(module: nn.Module) -> Iterator[None]:
    """Put copies under the names of all buffers and held parameters below a module, and the originals back after.

    All buffers, also those that are not stored: a codec may keep codes there that it calculated from the others.
    """
    copies: dict[int, Tensor] = {}
    held = [(each, override) for each in module.modules() for override in [train_override(each)] if override]
    before = [_state(each, override) for each, override in held]
    try:
        for each, override in held:
            override.in_scratch = True
            each.training = override.asked
            for name, buffer in each._buffers.items():  # noqa: SLF001 - the tensors under these names are exchanged
                each._buffers[name] = None if buffer is None else _copy(buffer, copies)  # noqa: SLF001
            for name, learned in override.parameters.items():
                parameter = each._parameters[name]  # noqa: SLF001
                if parameter is not None:
                    # a quantizer that runs an optimizer of its own needs a gradient to give it
                    each._parameters[name] = nn.Parameter(_copy(parameter, copies), learned)  # noqa: SLF001
        yield
    finally:
        for (each, override), (buffers, parameters) in zip(held, before):  # noqa: B905 - Python 3.9
            each._buffers.update(buffers)  # noqa: SLF001
            each._parameters.update(parameters)  # noqa: SLF001
            each.training = False
            override.in_scratch = False


def _state(module: nn.Module, override: TrainOverride) -> tuple[dict[str, Any], dict[str, Any]]:
    parameters = {name: module._parameters[name] for name in override.parameters}  # noqa: SLF001
    return dict(module._buffers), parameters  # noqa: SLF001


def _copy(tensor: Tensor, copies: dict[int, Tensor]) -> Tensor:
    """Return a copy, one for each tensor however many names it has."""
    if id(tensor) not in copies:
        with torch.no_grad():
            copies[id(tensor)] = tensor.detach().clone()
    return copies[id(tensor)]
