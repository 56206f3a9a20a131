"""Mutations of torch zip archives: what is in a member, which members there are, and every number about them."""

import struct
import zlib
from dataclasses import dataclass, replace
from random import Random

from fuzz.mutate import pickles
from fuzz.mutate.text import NUMBERS, WORDS, change_list, flip_bytes, mutate_lines

_CENTRAL, _LOCAL, _END = struct.Struct("<4s6H3L5H2L"), struct.Struct("<4s5H3L2H"), struct.Struct("<4s4H2LH")
_LOCAL_FIELDS = ((6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2), (30, 1))
_CENTRAL_FIELDS = ((8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (32, 2), (38, 4), (42, 4), (46, 1))
_END_FIELDS = ((4, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2))
"""(offset, width) of the numbers that readers look at: flags, method, checksum, sizes, lengths, positions."""
_NAMES = (
    b"archive/data.pkl",
    b"data.pkl",
    b"archive/DATA.PKL",
    b"archive\\data.pkl",
    b"./archive/data.pkl",
    b"../data.pkl",
)
_NAMES += (
    b"archive/constants.pkl",
    b"archive/byteorder",
    b"archive/version",
    b"archive/data/0",
    b"archive/data/1",
    b"",
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One member, its data as they are stored."""

    name: bytes
    packed: bytes
    size: int
    method: int = 0
    checksum: int = 0
    flags: int = 0
    extra: bytes = b""

    def unpacked(self) -> bytes:
        if not self.method:
            return self.packed
        try:
            return zlib.decompressobj(-15).decompress(self.packed, 1 << 20)
        except zlib.error:
            return b""


def stored(name: bytes, data: bytes) -> Entry:
    """Return a member that is not compressed."""
    return Entry(name, data, len(data), checksum=zlib.crc32(data))


def deflated(entry: Entry) -> Entry:
    """Return the same member, compressed."""
    machine = zlib.compressobj(6, zlib.DEFLATED, -15)
    data = entry.unpacked()
    return replace(entry, packed=machine.compress(data) + machine.flush(), size=len(data), method=8)


def build(entries: list[Entry], comment: bytes = b"") -> tuple[bytearray, list[tuple[int, int]]]:
    """Return an archive, and (position, width) of every number in it that readers look at."""
    data, fields, central = bytearray(), [], bytearray()
    central_fields: list[tuple[int, int]] = []
    for entry in entries:
        common = (entry.flags, entry.method, 0, 0, entry.checksum, len(entry.packed), entry.size, len(entry.name))
        fields += [(len(data) + at, width) for at, width in _LOCAL_FIELDS]
        central_fields += [(len(central) + at, width) for at, width in _CENTRAL_FIELDS]
        central += _CENTRAL.pack(b"PK\1\2", 0, 0, *common, 0, 0, 0, 0, 0, len(data)) + entry.name
        data += _LOCAL.pack(b"PK\3\4", 0, *common, len(entry.extra)) + entry.name + entry.extra + entry.packed
    start = len(data)
    fields += [(start + at, width) for at, width in central_fields]
    data += central
    fields += [(len(data) + at, width) for at, width in _END_FIELDS]
    data += _END.pack(b"PK\5\6", 0, 0, len(entries), len(entries), len(central), start, len(comment)) + comment
    return data, fields


def entries(data: bytes) -> list[Entry]:
    """Return the members of an archive as its directory lists them; those that make no sense are left out."""
    found: list[Entry] = []
    at = data.rfind(b"PK\5\6")
    if at < 0 or at + _END.size > len(data):
        return found
    _, _, _, _, count, _, position, _ = _END.unpack_from(data, at)
    for _ in range(min(count, 1000)):
        if position + _CENTRAL.size > len(data):
            break
        entry = _CENTRAL.unpack_from(data, position)
        name_length, extra_length, comment_length, header = *entry[10:13], entry[16]
        name = data[position + _CENTRAL.size : position + _CENTRAL.size + name_length]
        if header + _LOCAL.size <= len(data):
            lengths = _LOCAL.unpack_from(data, header)[9:11]
            start = header + _LOCAL.size + sum(lengths)
            found.append(Entry(name, data[start : start + entry[8]], entry[9], entry[4], entry[7]))
        position += _CENTRAL.size + name_length + extra_length + comment_length
    return found


def mutate(data: bytes, random: Random) -> bytes:
    """Mutate a torch zip archive."""
    kind = random.randrange(12)
    members = entries(data)
    if kind == 0 or not members:
        return flip_bytes(data, random)
    indexes = [number for number, member in enumerate(members) if member.name.endswith(b"data.pkl")]
    if kind <= 6 and indexes:
        at = random.choice(indexes)
        members[at] = stored(members[at].name, pickles.mutate(members[at].unpacked(), random))
        if random.randrange(8) == 0:
            members[at] = deflated(members[at])
        return bytes(build(members)[0])
    if kind <= 8:
        change_list(members, random, lambda member: _change(member, random), [stored(b"extra", b"1")])
        return bytes(build(members, b"PK\5\6" * random.randrange(2))[0])
    whole, fields = build(members)
    for _ in range(random.randrange(1, 4)):
        position, width = random.choice(fields)
        old = int.from_bytes(whole[position : position + width], "little")
        value = random.choice((random.choice(NUMBERS), old + 1, old - 1, old ^ 1, old ^ 8, old + random.randrange(100)))
        whole[position : position + width] = (value & ((1 << 8 * width) - 1)).to_bytes(width, "little")
    return bytes(whole)


def mutate_script(data: bytes, random: Random) -> bytes:
    """Mutate a TorchScript archive: as any other, or the source of its classes."""
    members = entries(data)
    sources = [number for number, member in enumerate(members) if member.name.endswith(b".py")]
    if not sources or random.randrange(3):
        return mutate(data, random)
    at = random.choice(sources)
    members[at] = stored(members[at].name, mutate_lines(members[at].unpacked(), random))
    return bytes(build(members)[0])


def mutate_patched(data: bytes, random: Random) -> bytes:
    """Mutate an archive whose first two bytes hold a version code, or should."""
    codes = (b"00", b"01", b"02", b"03", b"04", b"05", b"06", b"07", b"99", b"PK", b"\xb2\xb3", b"{\0")
    whole = b"PK" + data[2:]
    changed = mutate(whole, random) if random.randrange(10) else whole
    return random.choice(codes if random.randrange(5) == 0 else codes[:7]) + changed[2:]


def _change(member: Entry, random: Random) -> Entry:
    kind = random.randrange(6)
    if kind == 0:
        return replace(member, name=random.choice((*_NAMES, random.choice(WORDS).encode()[:400])))
    if kind == 1:
        return deflated(member)
    if kind == 2:
        return replace(member, packed=flip_bytes(member.packed, random))
    if kind == 3:
        return replace(member, flags=random.choice((0, 1, 8, 0x800, 0xFFFF)))
    if kind == 4:
        return replace(member, extra=random.choice((bytes(4), b"\1\0\x10\0" + b"\xff" * 16, b"FB" + bytes(60))))
    return stored(member.name, member.packed[: random.randrange(len(member.packed) + 1)])
