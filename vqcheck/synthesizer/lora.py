"""LoRA adapters (Hu et al. 2021) on the decoder of v3 and v4, under the names that peft gives them in checkpoints.

It takes any decoder whose attention has linear layers of these names, a checkout's too, so it runs on Python 3.9.
"""

from __future__ import annotations

import math
from typing import Any, Final

from torch import Tensor, nn

from vqcheck.synthesizer.errors import InputError

_TARGETS: Final = ("to_q", "to_k", "to_v", "to_out.0")
_ADAPTER: Final = "default"


class LoraLinear(nn.Module):
    """A linear layer and a product of two narrow matrices beside it, which starts at 0."""

    def __init__(self, base_layer: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base_layer = base_layer
        like = {"device": base_layer.weight.device, "dtype": base_layer.weight.dtype}
        narrow = nn.Linear(base_layer.in_features, rank, bias=False, **like)
        wide = nn.Linear(rank, base_layer.out_features, bias=False, **like)
        nn.init.kaiming_uniform_(narrow.weight, a=math.sqrt(5))
        nn.init.zeros_(wide.weight)
        self.lora_A = nn.ModuleDict({_ADAPTER: narrow})
        self.lora_B = nn.ModuleDict({_ADAPTER: wide})

    def forward(self, x: Tensor) -> Tensor:
        """Return what the linear layer does, `[..., out]`, and what the adapter adds."""
        narrow, wide = self.lora_A[_ADAPTER], self.lora_B[_ADAPTER]
        output: Tensor = self.base_layer(x) + wide(narrow(x.to(narrow.get_parameter("weight").dtype)))
        return output


class AdaptedModel(nn.Module):
    """A model behind the two names that peft puts in front of its own; what is not here is the model's."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.base_model = nn.Module()
        self.base_model.add_module("model", model)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the model does."""
        return self.base_model.model(*args, **kwargs)  # type: ignore[operator]

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "base_model":  # not there yet, as in a copy that is being made
                raise
            return getattr(self.base_model.model, name)


def add_lora(net_g: nn.Module, rank: int) -> None:
    """Put adapters of a rank on the attention of `net_g.cfm`, and turn the gradients of everything else in it off.

    Raises:
        InputError: the rank is no positive number, or there is nothing to adapt.

    """
    if rank < 1:
        raise InputError(f"rank: expected at least 1, given {rank}")
    decoder = getattr(net_g, "cfm", None)
    if not isinstance(decoder, nn.Module):
        raise InputError(f"LoRA: {type(net_g).__name__} has no cfm, whose attention it would train")
    adapted = [
        name
        for name, module in decoder.named_modules()
        if isinstance(module, nn.Linear) and any(f".{name}".endswith(f".{target}") for target in _TARGETS)
    ]
    if not adapted:
        raise InputError(f"LoRA: the cfm of {type(net_g).__name__} has no linear layers named {', '.join(_TARGETS)}")
    decoder.requires_grad_(False)
    for name in adapted:
        path, _, last = name.rpartition(".")
        layer = decoder.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        # by the name that a ModuleList has for it, too
        decoder.get_submodule(path)._modules[last] = LoraLinear(layer, rank)  # noqa: SLF001
    net_g.add_module("cfm", AdaptedModel(decoder))
