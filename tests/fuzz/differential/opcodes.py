"""Pickle opcodes, written one by one: what no library would write is written as easily as what it would."""

import struct
from collections.abc import Iterable


def text(value: str | bytes) -> bytes:
    raw = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    return b"X" + struct.pack("<I", len(raw)) + raw


def integer(value: int) -> bytes:
    if 0 <= value < 256:
        return b"K" + bytes([value])
    return b"J" + struct.pack("<i", value)


def number(value: float) -> bytes:
    return b"G" + struct.pack(">d", value)


def group(*parts: bytes) -> bytes:
    """Return opcodes of a tuple."""
    return b"(" + b"".join(parts) + b"t"


def integers(values: Iterable[int]) -> bytes:
    return group(*map(integer, values))


def several(*parts: bytes) -> bytes:
    """Return opcodes of a list."""
    return b"](" + b"".join(parts) + b"e"


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def call(module: str, name: str, *arguments: bytes) -> bytes:
    return named(module, name) + group(*arguments) + b"R"


def new(module: str, name: str, *arguments: bytes) -> bytes:
    return named(module, name) + group(*arguments) + b"\x81"


def pairs(items: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return opcodes that put items into the dictionary in front of them."""
    return b"(" + b"".join(key + value for key, value in items) + b"u"


def dictionary(*items: tuple[bytes, bytes]) -> bytes:
    return b"}" + pairs(items)


def built(value: bytes, state: bytes) -> bytes:
    return value + state + b"b"


EMPTY = call("collections", "OrderedDict")
TRUE, FALSE, NONE = b"\x88", b"\x89", b"N"
