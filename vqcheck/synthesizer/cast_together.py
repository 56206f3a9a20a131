"""Casts all weights of a network to half precision at once.

Under autocast torch casts each weight and bias by itself, and each of their gradients back: a third of all operators of
a training step, which on a fast GPU waits for the host to issue them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vqcheck.synthesizer.weight_norm import WeightNormed

_LAYERS = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.Linear)
"""What autocast computes in half precision, and has weights."""


@contextmanager
def cast_together(*parts: nn.Module) -> Iterator[None]:
    """Let the convolutions and linear layers of `parts` find the weights that autocast would cast for them.

    The values, and those of the gradients, are autocast's, bit by bit.  Without autocast nothing happens.
    """
    device = next(parts[0].parameters()).device.type
    if not torch.is_autocast_enabled(device) or torch.compiler.is_compiling():
        yield
        return
    layers = [each for part in parts for each in part.modules() if isinstance(each, _LAYERS)]
    own = [(layer, name, value) for layer in layers for name, value in _weights(layer)]
    cast = _Cast.apply(torch.get_autocast_dtype(device), *(value for _, _, value in own))  # type: ignore[no-untyped-call]
    kept = [dict(layer._parameters) for layer in layers]  # noqa: SLF001 - the tensors under these names are exchanged
    try:
        for (layer, name, _), value in zip(own, cast):  # noqa: B905 - Python 3.9
            layer._parameters[name] = value  # noqa: SLF001
        yield
    finally:
        for layer, parameters in zip(layers, kept):  # noqa: B905
            # in their old order, by which an optimizer's state is indexed
            layer._parameters.clear()  # noqa: SLF001
            layer._parameters.update(parameters)  # noqa: SLF001


def _weights(layer: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the weights that are parameters: what a hook or a property calculates is autocast's to cast."""
    known = dict(layer._parameters)  # noqa: SLF001 - the tensors under these names are exchanged
    if isinstance(layer, WeightNormed):
        known["weight"] = layer.effective_weight()  # type: ignore[assignment]
    for name in ("weight", "bias"):
        value = known.get(name)
        if value is not None:
            yield name, value


class _Cast(torch.autograd.Function):
    """Tensors of one type to those of another."""

    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.dtypes = [each.dtype for each in tensors]
        ctx.set_materialize_grads(False)
        return tuple(_copies(tensors, [dtype] * len(tensors)))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        known = [(each, dtype) for each, dtype in zip(gradients, ctx.dtypes) if each is not None]  # noqa: B905
        copies = iter(_copies([each for each, _ in known], [dtype for _, dtype in known]))
        return None, *(None if each is None else next(copies) for each in gradients)


def _copies(tensors: tuple[Tensor, ...] | list[Tensor], dtypes: list[torch.dtype]) -> list[Tensor]:
    copies = [torch.empty_like(each, dtype=dtype) for each, dtype in zip(tensors, dtypes)]  # noqa: B905
    if copies:
        torch._foreach_copy_(copies, list(tensors))
    return copies
