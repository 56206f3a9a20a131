"""Mutations of numpy's files: the words and numbers of a header, its length, and the members of an archive."""

import re
import struct
from random import Random

from fuzz.mutate import zips
from fuzz.mutate.text import NUMBERS, WORDS, change_list, flip_bytes

_DTYPES = ("<f4", "<f2", "<f8", ">f4", "=f4", "|i1", "|b1", "<c8", "|O", "<U9", "|V2", "<M8[s]", "f4", "")
_WHOLE = ("True", "False", "None", "(4,)", "(4)", "()", "[]", "{}", "0x4", "4L", "-4", "1e3", "__import__('os')")


def mutate(data: bytes, random: Random) -> bytes:
    """Mutate a numpy file."""
    if random.randrange(4) == 0 or len(data) < 12:
        return flip_bytes(data, random)
    begin = 10 if data[6] == 1 else 12
    length = int.from_bytes(data[8:begin], "little")
    header = data[begin : begin + length].decode("latin-1")
    kind = random.randrange(5)
    if kind == 0:
        header = re.sub(r"'descr': '[^']*'", lambda _: f"'descr': '{random.choice(_DTYPES)}'", header)
    elif kind == 1:
        numbers = [*re.finditer(r"\d+", header)]
        if numbers:
            at = random.choice(numbers)
            header = header[: at.start()] + str(random.choice(NUMBERS)) + header[at.end() :]
    elif kind == 2:
        pieces = re.split(r"([^\w'])", header)
        change_list(pieces, random, lambda _: random.choice((*_WHOLE, *WORDS))[:400], [random.choice(_WHOLE)])
        header = "".join(pieces)
    elif kind == 3:
        header = header.replace("False", "True")
    changed = header.encode("latin-1", "replace")
    told = len(changed) if random.randrange(6) else random.choice(NUMBERS)
    form, limit = ("<H", 0xFFFF) if begin == 10 else ("<L", 0xFFFFFFFF)
    return data[:8] + struct.pack(form, told & limit) + changed + data[begin + length :]


def mutate_archive(data: bytes, random: Random) -> bytes:
    """Mutate an archive of numpy files."""
    members = zips.entries(data)
    if not members or random.randrange(2):
        return zips.mutate(data, random)
    at = random.randrange(len(members))
    members[at] = zips.stored(members[at].name, mutate(members[at].unpacked(), random))
    if random.randrange(4) == 0:
        members[at] = zips.deflated(members[at])
    return bytes(zips.build(members)[0])
