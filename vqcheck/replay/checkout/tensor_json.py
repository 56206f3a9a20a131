"""Tensors as JSON, between vqcheck and the child process of a checkout. Both sides use it; it needs torch alone."""

from __future__ import annotations

import base64
import ctypes
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping


def encoded(tensor: Tensor) -> dict[str, Any]:
    """Return a tensor as JSON takes it: dtype, shape, data in base64; without numpy, which torch does not need."""
    tensor = tensor.detach().cpu().contiguous()
    data = ctypes.string_at(tensor.data_ptr(), tensor.numel() * tensor.element_size())
    dtype = str(tensor.dtype).rpartition(".")[2]
    return {"dtype": dtype, "shape": list(tensor.shape), "data": base64.b64encode(data).decode()}


def decoded(value: Mapping[str, Any]) -> Tensor:
    """Return the tensor that `encoded` was given."""
    dtype, data = getattr(torch, value["dtype"]), bytearray(base64.b64decode(value["data"]))
    if not data:
        return torch.zeros(value["shape"], dtype=dtype)
    return torch.frombuffer(data, dtype=dtype).reshape(value["shape"])
