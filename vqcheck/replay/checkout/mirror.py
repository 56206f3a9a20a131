"""A copy of a VQ encoder that lives in another process, so that it is watched as if it were here."""

import base64
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vqcheck.errors import UsageError


class Mirror(nn.Module):
    """Modules and buffers under the names that the tensors have over there.

    Buffers: `ssl_proj.weight [dim, dim, stride]`, `ssl_proj.bias [dim]`, those of `quantizer`.
    """

    def update(self, tensors: Mapping[str, Any]) -> None:
        """Take over tensors as the child sends them."""
        for name, value in tensors.items():
            *path, last = name.split(".")
            module: nn.Module = self
            for part in path:
                if part not in module._modules:  # noqa: SLF001 - add_module refuses names that are attributes
                    module.add_module(part, nn.Module())
                module = module.get_submodule(part)
            module.register_buffer(last, decoded(value))

    @torch.no_grad()
    def tokens(self, ssl: Tensor) -> Tensor:
        """Return the tokens `[N]` of features `[B, dim, T]`.

        Raises:
            UsageError: the tree has no single codebook behind a projection.

        """
        state = self.state_dict()
        codes = [value for name, value in state.items() if name.endswith("_codebook.embed")]
        weight = state.get("ssl_proj.weight")
        if weight is None or len(codes) != 1:
            raise UsageError("checkout: its VQ encoder is no projection with one codebook, as GPT-SoVITS's is")
        frames = functional.conv1d(ssl, weight, state.get("ssl_proj.bias"), stride=weight.shape[2])
        return torch.cdist(frames.transpose(1, 2).flatten(0, 1), codes[0]).argmin(dim=1)


def encoded(tensor: Tensor) -> dict[str, Any]:
    """Return a tensor as JSON takes it: dtype, shape, data in base64."""
    data = tensor.detach().cpu().contiguous().numpy().tobytes()
    dtype = str(tensor.dtype).removeprefix("torch.")
    return {"dtype": dtype, "shape": list(tensor.shape), "data": base64.b64encode(data).decode()}


def decoded(value: Mapping[str, Any]) -> Tensor:
    """Return the tensor that `encoded` was given."""
    data = bytearray(base64.b64decode(value["data"]))
    return torch.frombuffer(data, dtype=getattr(torch, value["dtype"])).reshape(value["shape"])
