"""Floating-point bytes without numpy: widened to float32 exactly, narrowed, and searched for NaN and infinity.

Two equal half-precision files are compared and digested without importing numpy, which would take longer than the
comparison itself. Bytes are translated whole, so a megabyte takes a few milliseconds.
"""

import math
import re
import struct
import sys
from array import array
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

WIDENED: Final = frozenset(
    {"float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"}
)
"""Element types whose every value is a float32 value."""

_MANY: Final = 4096
"""Subnormal values, in one piece of data, from which on numpy is quicker than a loop."""
_NAN: Final = struct.pack("<I", 0x7FC00000)


def widen(data: bytes | bytearray, dtype: str) -> bytes | bytearray:
    """Return the little-endian float32 bytes of the same values; other element types are returned as they are.

    Signed zeros, subnormal values, infinities and the NaN payloads of float16 and bfloat16 are kept.
    """
    if dtype == "float16":
        # Three times as fast, but to import it takes longer than to widen any codebook.
        return _float16_by_table(data) if _has_numpy() else _from_float16(data)
    if dtype == "bfloat16":
        out = bytearray(2 * len(data))
        out[2::4] = data[0::2]
        out[3::4] = data[1::2]
        return out
    if dtype in WIDENED:
        out = bytearray(4 * len(data))
        for position, table in enumerate(_float8_tables(dtype)):
            out[position::4] = data.translate(table)
        return out
    return data


def narrowed(data: bytes | bytearray) -> bytes | None:
    """Return little-endian float64 values as float32, or None where one of them would lose a bit."""
    wide = array("d")
    wide.frombytes(data)
    if sys.byteorder == "big":
        wide.byteswap()
    narrow = array("f", wide)
    if array("d", narrow).tobytes() != wide.tobytes():
        return None
    if sys.byteorder == "big":
        narrow.byteswap()
    return narrow.tobytes()


def _has_numpy() -> bool:
    return sys.modules.get("numpy") is not None


def _float16_by_table(data: bytes | bytearray) -> bytes:
    import numpy as np

    return np.take(_float16_table(), np.frombuffer(data, "<u2")).tobytes()


@cache
def _float16_table() -> "npt.NDArray[np.uint32]":
    """Return the float32 bits of every float16 value."""
    import numpy as np

    every = np.arange(1 << 16, dtype="<u2").tobytes()
    return np.frombuffer(bytes(_from_float16(every)), "<u4")


def _from_float16(data: bytes | bytearray) -> bytes | bytearray:
    #        high byte   low byte            float32 bytes 3        2        1        0
    #        seeeeemm    mmmmmmmm     ->     sEEEEEEE  Emmmmmmm  mmm00000  00000000     with E = e + 112
    low, high = data[0::2], data[1::2]
    tables = _float16_tables()
    top = high.translate(tables["high to byte 3"])
    # Of all ways to spread bytes without numpy, encoding them as text is the fastest.
    out = bytearray(top.decode("latin-1").encode("utf-32-be"))
    out[1::4] = low.translate(tables["low to byte 1"])
    out[2::4] = _second_bytes(low, high)
    # Subnormal values have no float32 with the same exponent field: they are few, so one by one.
    if b"\0" not in top and b"\x80" not in top:
        return out
    tiny = high.translate(tables["exponent is zero"])
    if tiny.count(1) > _MANY:
        # Zeros are among them. They are right already, and a tensor may be full of them.
        tiny = _and(tiny, _or(high.translate(tables["high mantissa is not zero"]), low.translate(tables["not zero"])))
        if tiny.count(1) > _MANY:
            return _float16_by_table(data)
    for match in re.finditer(b"\x01", tiny):
        at = match.start()
        magnitude = ((high[at] & 3) << 8 | low[at]) * 2.0**-24
        out[4 * at : 4 * at + 4] = struct.pack("<f", -magnitude if high[at] & 0x80 else magnitude)
    return out


def _second_bytes(low: bytes | bytearray, high: bytes | bytearray) -> bytes:
    """Return the last bit of each exponent and the first seven of its mantissa: 112 is even, so is what e = 31 adds."""
    count = len(low)
    last, first = _repeated(0x1F, count), _repeated(0xE0, count)
    wide = (int.from_bytes(low, "little") >> 3 & last) | (int.from_bytes(high, "little") << 5 & first)
    return wide.to_bytes(count, "little")


@lru_cache(maxsize=4)
def _repeated(byte: int, count: int) -> int:
    return int.from_bytes(bytes([byte]) * count, "little")


@cache
def _float16_tables() -> dict[str, bytes]:
    exponents = [{0: 0, 31: 255}.get(high >> 2 & 31, (high >> 2 & 31) + 112) for high in range(256)]
    return {
        "low to byte 1": bytes((low & 7) << 5 for low in range(256)),
        "high to byte 3": bytes(high & 0x80 | exponents[high] >> 1 for high in range(256)),
        "exponent is zero": bytes(high & 0x7C == 0 for high in range(256)),
        "high mantissa is not zero": bytes(high & 3 != 0 for high in range(256)),
        "not zero": bytes(low != 0 for low in range(256)),
    }


def _or(a: bytes | bytearray, b: bytes | bytearray) -> bytes:
    return (int.from_bytes(a, "little") | int.from_bytes(b, "little")).to_bytes(len(a), "little")


def _and(a: bytes | bytearray, b: bytes | bytearray) -> bytes:
    return (int.from_bytes(a, "little") & int.from_bytes(b, "little")).to_bytes(len(a), "little")


@cache
def _float8_tables(dtype: str) -> tuple[bytes, ...]:
    """Return four translation tables: the n-th gives byte n of the float32 value."""
    values = [_float8_value(code, dtype) for code in range(256)]
    return tuple(bytes(value[position] for value in values) for position in range(4))


def _float8_value(code: int, dtype: str) -> bytes:
    """Return the float32 bytes of one float8 value (OCP 8-bit formats, and the variants without negative zero)."""
    if dtype == "float8_e8m0fnu":
        return _NAN if code == 0xFF else struct.pack("<f", 2.0 ** (code - 127))
    mantissa_bits, bias = {
        "float8_e4m3fn": (3, 7),
        "float8_e5m2": (2, 15),
        "float8_e4m3fnuz": (3, 8),
        "float8_e5m2fnuz": (2, 16),
    }[dtype]
    sign = -1.0 if code & 0x80 else 1.0
    exponent = (code & 0x7F) >> mantissa_bits
    mantissa = code & ((1 << mantissa_bits) - 1)
    if dtype.endswith("fnuz"):
        if code == 0x80:
            return _NAN
    elif dtype == "float8_e4m3fn":
        if code & 0x7F == 0x7F:
            return _NAN
    elif exponent == 31:
        return _NAN if mantissa else struct.pack("<f", math.copysign(math.inf, sign))
    if exponent == 0:
        return struct.pack("<f", math.copysign(math.ldexp(mantissa, 1 - bias - mantissa_bits), sign))
    return struct.pack("<f", sign * math.ldexp((1 << mantissa_bits) + mantissa, exponent - bias - mantissa_bits))


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
