"""Stored bytes as numpy arrays, for everything that has to calculate with them."""

import numpy as np
import numpy.typing as npt

from vqcheck.codebook.vq_encoder import RoleTensor
from vqcheck.codebook.widen import widen

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


def as_array(tensor: RoleTensor, data: bytes | bytearray) -> npt.NDArray[np.floating]:
    """Return a tensor's values in its canonical shape, as float64 if stored so and as float32 otherwise."""
    array = np.frombuffer(widen(data, tensor.tensor.dtype), dtype=_NUMPY.get(tensor.tensor.dtype, "<f4"))
    floats: npt.NDArray[np.floating] = array if array.dtype.kind == "f" else array.astype(np.float64)
    return floats.reshape(tensor.shape)


def round_to(values: npt.NDArray[np.floating], dtype: str) -> npt.NDArray[np.floating]:
    """Return the values rounded to `float16` or `bfloat16`, to nearest and ties to even, in their own type."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        if dtype == "float16":
            return values.astype(np.float16).astype(values.dtype)
        bits = values.astype(np.float32).view(np.uint32)
        rounded = (bits + 0x7FFF + (bits >> 16 & 1)) & np.uint32(0xFFFF0000)
        rounded = np.where(np.isnan(values), bits, rounded)
        return rounded.view(np.float32).astype(values.dtype)
