"""Counts NaN and infinity among stored values, with the standard library alone: two equal files are asked that, too."""

from functools import cache
from typing import Final

from vqcheck.codebook.widen import WIDENED, widen

_LAST_BYTES: Final = {
    "float16": (0x7C, None),
    "bfloat16": (0x7F, 0x80),
    "float32": (0x7F, 0x80),
    "float64": (0x7F, 0xF0),
}
"""Bits of a value's last byte, and of the one before, that are all set where it is NaN or infinite."""
_WIDTH: Final = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}


def not_finite(data: bytes | bytearray, dtype: str) -> int:
    """Return how many of these little-endian values are NaN or infinite; integers never are."""
    if dtype in WIDENED and dtype not in _WIDTH:
        data, dtype = widen(data, dtype), "float32"
    if dtype not in _WIDTH:
        return 0
    width, (last, before) = _WIDTH[dtype], _LAST_BYTES[dtype]
    found = data[width - 1 :: width].translate(_table(last))
    if before is None or not found.count(1):
        return found.count(1)
    second = data[width - 2 :: width].translate(_table(before))
    both = int.from_bytes(found, "little") & int.from_bytes(second, "little")
    return both.bit_count()


@cache
def _table(bits: int) -> bytes:
    return bytes(value & bits == bits for value in range(256))
