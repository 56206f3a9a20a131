"""Hooks that warn of what a freeze cannot prevent: a quantizer that is replaced, an encoder that stops learning.

They only warn, and do nothing inside what torch.compile compiles.  `Frozen.check` says the same without them.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from vqcheck.live.train_override import train_override


class ReplacementHook:
    """In front of the frozen module's forward: warns, once for each name, where what was frozen stands no more."""

    def __init__(self, module: nn.Module, modules: tuple[str, ...], parameters: tuple[str, ...]) -> None:
        self.modules = modules
        self.parameters = parameters
        self._named: set[str] = set()
        # kept, so that after unpickling torch gives its number to no other hook
        self.handle: RemovableHandle = module.register_forward_pre_hook(self)

    def __call__(self, module: nn.Module, args: Any) -> None:  # noqa: ARG002 - as torch calls it
        if not is_compiling():
            self.warn(module, stacklevel=5)

    def warn(self, module: nn.Module, stacklevel: int) -> None:
        """Warn of what was not named before."""
        new = [name for name in not_held(module, self.modules, self.parameters) if name not in self._named]
        if new:
            self._named.update(new)
            warnings.warn(replaced_text(new), RuntimeWarning, stacklevel=stacklevel)


def replaced_text(names: list[str]) -> str:
    """Return the warning on names that are not held any more."""
    return (
        f"{', '.join(names)}: was replaced or set free after vqcheck.freeze and is not held any more; "
        "freeze the model again when it is complete"
    )


def not_held(module: nn.Module, modules: tuple[str, ...], parameters: tuple[str, ...]) -> Iterator[str]:
    """Yield the names that lead to something which is not held, or to nothing."""
    for name in modules:
        try:
            there = module.get_submodule(name)
        except AttributeError:
            yield name
            continue
        held = train_override(there)
        if held is None or (there.training and not held.in_scratch):
            yield name or type(module).__name__
    for name in parameters:
        try:
            learns = module.get_parameter(name).requires_grad
        except AttributeError:
            learns = True
        if learns and not any(name.startswith(f"{top}.") and train_override_at(module, top) is None for top in modules):
            yield name


def train_override_at(module: nn.Module, name: str) -> object:
    """Return what holds the module of this name; None where nothing does, or there is none."""
    try:
        return train_override(module.get_submodule(name))
    except AttributeError:
        return None


class GradientHook:
    """Behind a held quantizer's forward: warns once if the gradient ends there that the encoder in front waits for."""

    def __init__(self, module: nn.Module) -> None:
        self.handle: RemovableHandle = module.register_forward_hook(self, with_kwargs=True)

    def __call__(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        held = train_override(module)
        if is_compiling() or not torch.is_grad_enabled() or held is None or not held.asked:
            return
        waiting = [tensor for tensor in tensors_in((args, kwargs)) if tensor.requires_grad]
        if not waiting:
            return
        self.handle.remove()
        if not _reaches(list(tensors_in(output)), waiting):
            warnings.warn(
                f"{type(module).__name__} is frozen in eval mode, where it passes no gradient on: the trainable "
                'parameters in front of it stop learning; vqcheck.freeze(module, encoder="learns") keeps their '
                "gradient, and requires_grad_(False) on them says that this is meant",
                RuntimeWarning,
                stacklevel=4,
            )


def remove_hooks(module: nn.Module) -> None:
    """Take away all hooks of this file on a module and below."""
    for each in module.modules():
        for hook in (*each._forward_pre_hooks.values(), *each._forward_hooks.values()):  # noqa: SLF001
            if isinstance(hook, (ReplacementHook, GradientHook)):
                hook.handle.remove()


def _reaches(outputs: list[Tensor], inputs: list[Tensor]) -> bool:
    """Tell whether the gradient of an output comes to an input."""
    ends = {node for node in map(_node, inputs) if node is not None}
    waiting, seen = [node for node in map(_node, outputs) if node is not None], set[Any]()
    while waiting:
        node = waiting.pop()
        if node in ends:
            return True
        if node not in seen:
            seen.add(node)
            waiting += [following for following, _ in node.next_functions if following is not None]
    return False


def _node(tensor: Tensor) -> Any:
    """Return where a tensor stands in autograd's graph."""
    if tensor.grad_fn is None and tensor.requires_grad:
        return tensor.view_as(tensor).grad_fn.next_functions[0][0]  # type: ignore[union-attr]
    return tensor.grad_fn


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the tensors among a forward's arguments or results, in their order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from tensors_in(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from tensors_in(each)
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            yield from tensors_in(getattr(value, name))


def is_compiling() -> bool:
    """Tell whether torch.compile is tracing; a torch that cannot say so does not."""
    compiler = getattr(torch, "compiler", None)
    asks = getattr(compiler, "is_compiling", None)
    return bool(asks and asks())
