"""Keeps one module instance in eval mode, whatever mode `train()` asks for later.

An attribute of the instance, not a hook: a hook that is added after torch.compile is ignored, and after unpickling
another hook can take its id.  A class of this module, not a closure, so that a frozen model can be pickled; whoever
unpickles it needs vqcheck.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

from torch import nn

from vqcheck.errors import UsageError


class TrainOverride:
    """Stands in the way of one module's `train`, and keeps parameters of its own without gradient.

    It points to its module weakly, so that a deleted model still frees its memory at once.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = weakref.ref(module)
        self._replaced = module.__dict__.get("train")
        self.asked = module.training
        """The mode that was last asked for."""
        self.in_scratch = False
        """Whether the module runs in that mode right now, on copies, see `scratch_forward`."""
        self._required_grad: dict[str, bool] = {}

    def __call__(self, mode: bool = True) -> nn.Module:
        """Remember the mode for later, and stay in eval mode."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")  # noqa: TRY004 - as torch does
        module = self.module
        self.asked = mode
        self.assert_held()
        for child in module.children():
            child.train(mode if train_override(child) else False)
        return module

    @property
    def module(self) -> nn.Module:
        module = self._module()
        if module is None:
            raise UsageError("this module is a shallow copy of a frozen one that is gone: freeze the copy itself")
        return module

    @property
    def parameters(self) -> dict[str, bool]:
        """Names of the module's own parameters that are held, and whether they were in training before."""
        return dict(self._required_grad)

    def hold_parameter(self, name: str) -> None:
        """Take one of the module's own parameters out of training."""
        self._required_grad.setdefault(name, self.module.get_parameter(name).requires_grad)

    def assert_held(self) -> None:
        """Put the module into eval mode and its held parameters out of training, if they are not."""
        module = self.module
        module.training = False
        for name in self._required_grad:
            parameter = module.get_parameter(name)
            parameter.requires_grad_(False)
            # a gradient from before would be applied by the next optimizer step, and with it weight decay
            parameter.grad = None

    def release(self) -> None:
        """Give the module back its `train`, the mode that was last asked for, and its parameters their gradients."""
        module = self.module
        del module.__dict__["train"]
        if self._replaced is not None:
            module.__dict__["train"] = self._replaced
        module.training = self.asked
        for name, required_grad in self._required_grad.items():
            module.get_parameter(name).requires_grad_(required_grad)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_module": self._module()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # in a copy this is the copied module, since the copy of a module is known before that of its attributes
        self.__dict__.update(state, _module=weakref.ref(state["_module"]))


def train_override(module: nn.Module) -> TrainOverride | None:
    """Return what holds a module, if it is held."""
    held = module.__dict__.get("train")
    return held if isinstance(held, TrainOverride) else None


def train_overrides(module: nn.Module) -> Iterator[TrainOverride]:
    """Return what holds a module and those below it."""
    for each in module.modules():
        held = train_override(each)
        if held:
            yield held


def hold(module: nn.Module) -> TrainOverride:
    """Hold a module from now on; one that is held already stays so."""
    held = train_override(module)
    if held is None:
        held = TrainOverride(module)
        # nn.Module's own __setattr__ would do the same, slower and with a type that forbids it
        module.__dict__["train"] = held
    return held
