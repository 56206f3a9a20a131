"""The directory of a zip archive and positioned reads from its members, distrusting every number in it.

The standard library's zipfile reads whole members from their start and accepts archives whose members overlap or
disagree with their local headers; a checkpoint reader needs slices, and must not.
"""

import struct
import zlib
from dataclasses import dataclass
from typing import Final

from vqcheck.checkpoint.file import PositionedFile
from vqcheck.errors import CheckpointError

# End record:     signature, disk, directory disk, entries here, entries, directory size and start, comment length
_END: Final = struct.Struct("<4s4H2LH")
# Zip64 locator:  signature, disk, position of the zip64 end record, disks
_LOCATOR64: Final = struct.Struct("<4sLQL")
# Zip64 end:      signature, record size, versions, disks, entries here, entries, directory size, directory start
_END64: Final = struct.Struct("<4sQ2H2L4Q")
# Central entry:  signature, versions, flags, method, time, date, crc, packed, size, name, extra, comment lengths,
#                 disk, internal and external attributes, start of the local header
_CENTRAL: Final = struct.Struct("<4s6H3L5H2L")
# Local header:   signature, version, flags, method, time, date, crc, packed, size, name, extra lengths
_LOCAL: Final = struct.Struct("<4s5H3L2H")

_STORED: Final = 0
_DEFLATED: Final = 8
_ENCRYPTED: Final = 1
_SIZES_FOLLOW: Final = 8
_MAX_DIRECTORY: Final = 64 << 20
_MAX_INFLATED: Final = 1 << 30
_PIECE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of the central directory."""

    name: str
    start: int
    """Position of its local header."""
    packed_size: int
    size: int
    method: int
    raw_name: bytes


class ZipArchive:
    """A zip archive opened for positioned reads.

    The first two bytes of the file may be anything: GPT-SoVITS overwrites them with a version code.

    Raises:
        CheckpointError: no directory, or a directory whose members repeat a name, overlap or leave the file.

    """

    def __init__(self, file: PositionedFile) -> None:
        self._file = file
        self._data_starts: dict[str, int] = {}
        self.members = self._read_directory()

    def read(self, name: str, start: int, size: int) -> bytearray:
        """Return `size` unpacked bytes of a member from position `start` inside it.

        Raises:
            CheckpointError: no such member, the range leaves it, or its packed data is damaged.

        """
        member = self.members.get(name)
        if member is None:
            raise self._error(name, "is missing from the archive")
        if start < 0 or size < 0 or start + size > member.size:
            raise self._error(name, f"bytes {start} to {start + size} lie outside its {member.size} bytes")
        data_start = self._data_start(member)
        if member.method == _STORED:
            return self._file.read(data_start + start, size, name)
        return self._inflate(member, data_start, start, size)

    def _error(self, what: str, reason: str) -> CheckpointError:
        return CheckpointError(f"{self._file.path}: {what}: {reason}")

    def _read_directory(self) -> dict[str, Member]:
        count, size, start = self._find_directory()
        if size > _MAX_DIRECTORY or start + size > self._file.size:
            raise self._error("zip directory", "lies outside the file or is unreasonably large")
        directory = self._file.read(start, size, "zip directory")
        members: dict[str, Member] = {}
        position = 0
        for _ in range(count):
            if position + _CENTRAL.size > size:
                raise self._error("zip directory", "ends early")
            entry = _CENTRAL.unpack_from(directory, position)
            flags, method = entry[3], entry[4]
            packed, full = entry[8], entry[9]
            name_length, extra_length, comment_length = entry[10:13]
            header = entry[16]
            name_end = position + _CENTRAL.size + name_length
            end = name_end + extra_length + comment_length
            if entry[0] != b"PK\x01\x02" or end > size:
                raise self._error("zip directory", "is damaged")
            raw_name = bytes(directory[position + _CENTRAL.size : name_end])
            name = raw_name.decode("utf-8", "backslashreplace")
            if 0xFFFFFFFF in (packed, full, header):
                extra = bytes(directory[name_end : name_end + extra_length])
                full, packed, header = self._zip64(name, extra, full, packed, header)
            if name in members:
                raise self._error(name, "is listed twice in the zip directory")
            if flags & _ENCRYPTED or method not in (_STORED, _DEFLATED):
                raise self._error(name, "is encrypted or packed with an unsupported method")
            if method == _STORED and packed != full:
                raise self._error(name, f"is stored, yet claims {packed} bytes packed and {full} unpacked")
            members[name] = Member(name, header, packed, full, method, raw_name)
            position = end
        self._refuse_overlaps(members, start)
        return members

    def _find_directory(self) -> tuple[int, int, int]:
        """Return (entries, bytes, position) of the central directory."""
        tail_size = min(self._file.size, _END.size + 0xFFFF)
        tail_start = self._file.size - tail_size
        tail = self._file.read(tail_start, tail_size, "end of the file")
        at = tail.rfind(b"PK\x05\x06")
        if at < 0 or at + _END.size > tail_size:
            raise self._error("zip directory", "not found at the end of the file (truncated?)")
        _, disk, directory_disk, here, count, size, start, comment = _END.unpack_from(tail, at)
        if at + _END.size + comment != tail_size:
            raise self._error("zip directory", "is followed by other bytes")
        locator_at = tail_start + at - _LOCATOR64.size
        if locator_at >= 0:
            locator = self._file.read(locator_at, _LOCATOR64.size, "zip directory")
            if locator[:4] == b"PK\x06\x07":
                end64 = self._file.read(_LOCATOR64.unpack(locator)[2], _END64.size, "zip64 directory")
                if end64[:4] != b"PK\x06\x06":
                    raise self._error("zip64 directory", "is damaged")
                disk, directory_disk, here, count, size, start = _END64.unpack(end64)[4:10]
        if disk or directory_disk or here != count:
            raise self._error("zip directory", "spans several disks")
        return count, size, start

    def _zip64(self, name: str, extra: bytes, full: int, packed: int, header: int) -> tuple[int, int, int]:
        """Return (size, packed size, header position) with the 64-bit values of the extra field filled in."""
        at = 0
        while at + 4 <= len(extra):
            kind, length = struct.unpack_from("<2H", extra, at)
            at += 4
            if kind == 1:
                values = iter(struct.unpack_from(f"<{length // 8}Q", extra.ljust(at + length, b"\0"), at))
                full = next(values, full) if full == 0xFFFFFFFF else full
                packed = next(values, packed) if packed == 0xFFFFFFFF else packed
                header = next(values, header) if header == 0xFFFFFFFF else header
                return full, packed, header
            at += length
        raise self._error(name, "has sizes that do not fit its directory entry")

    def _refuse_overlaps(self, members: dict[str, Member], directory_start: int) -> None:
        end = 0
        for member in sorted(members.values(), key=lambda member: member.start):
            if member.start < end:
                raise self._error(member.name, "overlaps another member of the archive")
            end = member.start + _LOCAL.size + len(member.raw_name) + member.packed_size
        if end > directory_start:
            raise self._error("zip directory", "overlaps a member of the archive")

    def _data_start(self, member: Member) -> int:
        known = self._data_starts.get(member.name)
        if known is not None:
            return known
        header = self._file.read(member.start, _LOCAL.size, member.name)
        signature, _, flags, method, _, _, _, packed, full, name_length, extra_length = _LOCAL.unpack(header)
        patched = member.start == 0 and signature[2:] == b"\x03\x04"
        if (signature != b"PK\x03\x04" and not patched) or method != member.method:
            raise self._error(member.name, "its local header disagrees with the zip directory")
        sizes_known = not flags & _SIZES_FOLLOW and 0xFFFFFFFF not in (packed, full)
        if sizes_known and (packed, full) != (member.packed_size, member.size):
            raise self._error(member.name, "its local header disagrees with the zip directory about its size")
        name_at = member.start + _LOCAL.size
        if self._file.read(name_at, name_length, member.name) != member.raw_name:
            raise self._error(member.name, "its local header disagrees with the zip directory about its name")
        start: int = name_at + name_length + extra_length
        if start + member.packed_size > self._file.size:
            raise self._error(member.name, "lies outside the file (truncated?)")
        self._data_starts[member.name] = start
        return start

    def _inflate(self, member: Member, data_start: int, start: int, size: int) -> bytearray:
        if member.size > _MAX_INFLATED:
            raise self._error(
                member.name, f"claims to unpack to {member.size} bytes, more than is read from packed data"
            )
        machine = zlib.decompressobj(-zlib.MAX_WBITS)
        out = bytearray()
        skip = start
        packed_at = 0
        pending = b""
        while len(out) < size:
            if not pending and packed_at < member.packed_size:
                count = min(_PIECE, member.packed_size - packed_at)
                pending = bytes(self._file.read(data_start + packed_at, count, member.name))
                packed_at += count
            try:
                piece = machine.decompress(pending, _PIECE)
            except zlib.error:
                raise self._error(member.name, "its packed data is damaged") from None
            if not piece and (machine.eof or packed_at >= member.packed_size):
                raise self._error(member.name, "its packed data ends before its claimed size")
            pending = machine.unconsumed_tail
            if skip >= len(piece):
                skip -= len(piece)
            else:
                out += piece[skip : skip + size - len(out)]
                skip = 0
        return out
