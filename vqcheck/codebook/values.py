"""Stored bytes as numpy arrays, for everything that has to calculate with them."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from vqcheck.codebook.family import Derivation, Family, Role
from vqcheck.codebook.float_bytes import widen
from vqcheck.codebook.vq_encoder import Codebook, RoleTensor

Array = npt.NDArray[np.floating]

_NUMPY = {
    "float64": "<f8",
    "int64": "<i8",
    "int32": "<i4",
    "int16": "<i2",
    "int8": "i1",
    "uint64": "<u8",
    "uint32": "<u4",
    "uint16": "<u2",
    "uint8": "u1",
    "bool": "?",
}


def as_array(tensor: RoleTensor, data: bytes | bytearray) -> Array:
    """Return a tensor's values in its canonical shape, as float64 if stored so and as float32 otherwise."""
    return array_of(tensor.tensor.dtype, tensor.shape, data)


def array_of(dtype: str, shape: tuple[int, ...], data: bytes | bytearray) -> Array:
    """Return stored values of an element type in a shape, as float64 if stored so and as float32 otherwise."""
    array = np.frombuffer(widen(data, dtype), dtype=_NUMPY.get(dtype, "<f4"))
    floats: Array = array if array.dtype.kind == "f" else array.astype(np.float64)
    return floats.reshape(shape)


def code_vectors(family: Family, codebook: Codebook, data: Mapping[RoleTensor, bytes | bytearray]) -> Array:
    """Return the vectors that the lookup compares with, `[heads, codes, dim]`, given the stored bytes.

    Mimi: embedding_sum / max(cluster_usage, 1e-5). SimVQ: frozen_codebook times the transposed weight of
    code_transform, where that is one linear layer; another transform is a network of the user's, and the stored codes
    are returned. Every other family stores them.
    """
    arrays = {(tensor.role, tensor.part): as_array(tensor, data[tensor]) for tensor in codebook.tensors}
    if family.derivation == Derivation.SUM_OVER_COUNT:
        return sum_over_count(arrays[Role.EMA_SUM, ""], arrays[Role.EMA_COUNT, ""])
    codes = arrays[Role.CODES, ""]
    if family.derivation == Derivation.TRANSFORMED:
        transform = {part: array for (role, part), array in arrays.items() if role == Role.CODE_TRANSFORM}
        vectors = transformed(codes, transform)
        return codes if vectors is None else vectors
    return codes


def sum_over_count(sums: Array, counts: Array) -> Array:
    """Return `sums / max(counts, 1e-5)`, `[heads, codes, dim]`, in float32 as moshi and transformers calculate it."""
    divisor = np.maximum(counts.astype(np.float32), np.float32(1e-5))[..., None]
    vectors: Array = sums.astype(np.float32) / divisor
    return vectors


def transformed(codes: Array, transform: Mapping[str, Array]) -> Array | None:
    """Return codes `[heads, codes, dim]` sent through one linear layer, or None where it is anything else."""
    weight = transform.get("weight")
    linear = set(transform) <= {"weight", "bias"} and weight is not None and weight.ndim == 2
    if weight is None or not linear or weight.shape[1] != codes.shape[2]:
        return None
    vectors: Array = codes.astype(np.float32) @ weight.astype(np.float32).T
    return vectors + transform["bias"] if "bias" in transform else vectors


def weight_normed(g: Array, v: Array) -> Array:
    """Return `g v / |v|`, the norm over all axes but the first (Salimans and Kingma 2016), in float32."""
    wide = v.astype(np.float64)
    with np.errstate(all="ignore"):
        norm = np.sqrt((wide * wide).sum(axis=tuple(range(1, v.ndim)), keepdims=True))
        weight: Array = (g.astype(np.float64).reshape(norm.shape) * wide / norm).astype(np.float32)
    return weight


def layer_weight(parts: Mapping[str, Array]) -> Array | None:
    """Return a layer's weight, stored plain or weight-normed, or None where neither is complete or g does not fit v."""
    if "weight" in parts:
        return parts["weight"]
    g, v = parts.get("g"), parts.get("v")
    if g is None or v is None or g.size != (v.shape[0] if v.ndim else 1):
        return None
    return weight_normed(g, v)


def round_to(values: Array, dtype: str) -> Array:
    """Return the values rounded to `float16` or `bfloat16`, to nearest and ties to even, in their own type."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        if dtype == "float16":
            return values.astype(np.float16).astype(values.dtype)
        bits = values.astype(np.float32).view(np.uint32)
        rounded = (bits + 0x7FFF + (bits >> 16 & 1)) & np.uint32(0xFFFF0000)
        rounded = np.where(np.isnan(values), bits, rounded)
        return rounded.view(np.float32).astype(values.dtype)
