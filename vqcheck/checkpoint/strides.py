"""How the elements of a tensor lie in its storage: in C order, or to be gathered into it."""

from array import array
from typing import Final

from vqcheck.checkpoint.stored_tensor import StoredTensor, contiguous_stride

_TYPE_CODES: Final = {1: "B", 2: "H", 4: "I", 8: "Q"}
"""Width in bytes -> element type of Python's arrays that has it."""


def is_dense(tensor: StoredTensor) -> bool:
    """Say whether the elements lie in C order without gaps."""
    dense = contiguous_stride(tensor.shape)
    return all(length == 1 or a == b for length, a, b in zip(tensor.shape, tensor.stride, dense, strict=True))


def in_c_order(data: bytes | bytearray, tensor: StoredTensor, width: int) -> bytes:
    """Return the elements of a non-contiguous tensor in C order; `data` begins at its first element."""
    if len(tensor.shape) == 2 and tensor.stride == (1, tensor.shape[0]) and width in _TYPE_CODES:
        return _transpose(data, tensor.shape, width)
    import numpy as np

    elements = np.frombuffer(data, dtype=np.dtype(f"V{width}"))
    strides = tuple(step * width for step in tensor.stride)
    return np.lib.stride_tricks.as_strided(elements, tensor.shape, strides, writeable=False).tobytes()


def _transpose(data: bytes | bytearray, shape: tuple[int, ...], width: int) -> bytes:
    """Return a matrix `[n, m]` in C order, given the bytes of its transpose: quick, and without numpy."""
    rows, columns = shape
    stored, result = array(_TYPE_CODES[width]), array(_TYPE_CODES[width], bytes(rows * columns * width))
    stored.frombytes(data)
    for column in range(columns):
        result[column::columns] = stored[column * rows : (column + 1) * rows]
    return result.tobytes()
