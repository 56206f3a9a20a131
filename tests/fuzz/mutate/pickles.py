"""Mutations of pickles, opcode by opcode."""

import pickletools
import struct
from functools import lru_cache
from random import Random

from fuzz.mutate.text import NUMBERS, WORDS, change_list, flip_bytes

_STOP = b"."
_REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
SNIPPETS = (
    *(b"(", b")", b"0", b"1", b"2", b"N", b"\x88", b"]", b"}", b"\x8f", b"l", b"d", b"t", b"\x85", b"\x86", b"\x87"),
    *(b"R", b"b", b"o", b"a", b"e", b"s", b"u", b"Q", b"\x81", b"\x92", b"\x90", b"\x91", b"\x93", b"\x94", b"."),
    *(b"q\0", b"h\0", b"r\xff\xff\xff\xff", b"j\xff\xff\xff\xff", b"g0\n", b"p0\n", b"K\0", b"K\xff", b"M\xff\xff"),
    *(
        b"J\xff\xff\xff\xff",
        b"\x8a\x09" + b"\xff" * 9,
        b"\x8b\xff\xff\xff\xff",
        b"I01\n",
        b"L-1L\n",
        b"Fnan\n",
        b"Finf\n",
    ),
    *(b"G\x7f\xf8" + bytes(6), b"S'a'\n", b"V\\ud800\n", b"X\1\0\0\0a", b"X\xff\xff\xff\xffa", b"\x8c\1a", b"C\1a"),
    *(b"\x8d" + b"\xff" * 8, b"\x8e" + b"\xff" * 8, b"\x95" + b"\xff" * 8, b"\x96" + b"\xff" * 8, b"\x80\x05"),
    *(
        b"cos\nsystem\n",
        b"(ios\nsystem\n",
        b"ctorch\nSize\n",
        b"ctorch\nFloatStorage\n",
        b"ccollections\nOrderedDict\n)R",
    ),
    *(b"\x82\1", b"\x83\1\0", b"\x84\1\0\0\0", b"\x97", b"\x98", b"P0\n", _REBUILD, _REBUILD + b"(NK\0))tR"),
    *(
        b"ctorch._tensor\n_rebuild_from_type_v2\n",
        b"ctorch._utils\n_rebuild_parameter\n",
        b"ctorch._utils\n_rebuild_qtensor\n",
    ),
    *(
        b"ctorch._utils\n_rebuild_tensor_v3\n",
        b"cpathlib\nPosixPath\n",
        b"ccollections\ndefaultdict\n",
        b"cutils\nHParams\n)R}b",
    ),
    *(
        b"ctorch\nBFloat16Storage\n",
        b"ctorch\nBoolStorage\n",
        b"ctorch\nComplexFloatStorage\n",
        b"ctorch\nHalfStorage\n",
    ),
)
"""Opcodes with arguments, to be put anywhere: each is small, many are what readers must not trust."""


def mutate(data: bytes, random: Random) -> bytes:
    """Mutate a pickle."""
    if random.randrange(10) == 0:
        return flip_bytes(data, random)
    instructions = list(_split(data))
    change_list(instructions, random, lambda old: _change(old, random), SNIPPETS)
    return b"".join(instructions)


def mutate_legacy(data: bytes, random: Random) -> bytes:
    """Mutate a legacy torch file: one of its five pickles, or the storages behind them."""
    kind = random.randrange(10)
    if kind == 0:
        return flip_bytes(data, random)
    pieces, rest = _pickles(data)
    if kind == 1:
        return b"".join(pieces) + flip_bytes(rest, random)
    if pieces:
        at = random.choice((random.randrange(len(pieces)), min(3, len(pieces) - 1)))
        pieces[at] = mutate(pieces[at], random)
    return b"".join(pieces) + rest


def _pickles(data: bytes) -> tuple[list[bytes], bytes]:
    pieces: list[bytes] = []
    for _ in range(5):
        instructions = _split(data)
        if _STOP not in instructions:
            break
        size = sum(map(len, instructions[: instructions.index(_STOP) + 1]))
        pieces.append(data[:size])
        data = data[size:]
    return pieces, data


@lru_cache(maxsize=512)
def _split(data: bytes) -> tuple[bytes, ...]:
    """Return the instructions of a pickle, up to the first STOP; what is behind, or makes no sense, is the last."""
    starts: list[int] = []
    end = len(data)
    try:
        for opcode, _, position in pickletools.genops(data):
            starts.append(position)
            if opcode.name == "STOP":
                end = position + 1
    except Exception:  # noqa: BLE001 - whatever it cannot make sense of stays in one piece
        end = starts[-1] if starts else 0
    pieces = [data[start:stop] for start, stop in zip(starts, [*starts[1:], end], strict=False)]
    return (*filter(None, pieces), *([data[end:]] if data[end:] else []))


def _change(instruction: bytes, random: Random) -> bytes:
    """Return the same opcode with another argument, or another opcode."""
    code, argument = instruction[:1], instruction[1:]
    kind = random.randrange(4)
    if kind == 0 or not argument:
        return random.choice(SNIPPETS)
    if code in b"XUT\x8c\x8d" and kind == 1:
        word = random.choice(WORDS).encode()[: 255 if code in b"U\x8c" else None]
        return code + len(word).to_bytes({88: 4, 85: 1, 84: 4, 0x8C: 1, 0x8D: 8}[code[0]], "little") + word
    if code in b"KMJ" and kind <= 2:
        number = random.choice(NUMBERS)
        if number < 1 << 31:
            return b"J" + struct.pack("<i", number)
        width = (number.bit_length() + 8) // 8
        return (b"\x8a" + bytes([width]) if width < 256 else b"\x8b" + struct.pack("<I", width)) + number.to_bytes(
            width, "little"
        )
    changed = bytearray(argument)
    changed[random.randrange(len(changed))] = random.randrange(256)
    return code + bytes(changed)
