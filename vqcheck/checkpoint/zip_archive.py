"""The directory of a zip archive and positioned reads from its members, distrusting every number in it.

The standard library's zipfile reads whole members from their start and accepts archives whose members overlap or
disagree with their local headers; a checkpoint reader needs slices, and must not.
"""

import struct
import zlib
from typing import Final

from vqcheck.checkpoint.file import PositionedFile
from vqcheck.checkpoint.zip_end_record import DIRECTORY_NAME, UNKNOWN, find_directory
from vqcheck.errors import CheckpointError
from vqcheck.language import tr
from vqcheck.quick_dataclass import quick_dataclass

# Central entry:  signature, versions, flags, method, time, date, crc, packed, size, name, extra, comment lengths,
#                 disk, internal and external attributes, start of the local header
_CENTRAL: Final = struct.Struct("<4s6H3L5H2L")
# Local header:   signature, version, flags, method, time, date, crc, packed, size, name, extra lengths
_LOCAL: Final = struct.Struct("<4s5H3L2H")

_CHECKSUM_IN_ENTRY: Final = 16
_CHECKSUM_IN_HEADER: Final = 14

_STORED: Final = 0
_DEFLATED: Final = 8
_ENCRYPTED: Final = 0x2061
"""Flags of what is encrypted (also by a strong cipher, or in the directory) or a patch; torch refuses each."""
_SIZES_FOLLOW: Final = 8
_DIRECTORY: Final = 0x10
"""Among the external attributes: torch reads nothing of a member that is marked so, and takes what its memory held."""
_MAX_DIRECTORY: Final = 16 << 20
_MAX_INFLATED: Final = 1 << 30
_PIECE: Final = 1 << 20


@quick_dataclass(frozen=True, slots=True)
class Member:
    """One entry of the central directory."""

    name: str
    start: int
    """Position of its local header."""
    packed_size: int
    size: int
    method: int
    raw_name: bytes
    limit: int
    """Position of the next member, or of the directory: where its data must have ended."""
    entry: int
    """Position of its entry in the central directory."""

    @property
    def is_packed(self) -> bool:
        return self.method != _STORED


class ZipArchive:
    """A zip archive opened for positioned reads.

    The first two bytes of the file may be anything: GPT-SoVITS overwrites them with a version code.

    Raises:
        CheckpointError: no directory, or a directory whose members repeat a name, overlap or leave the file.

    """

    def __init__(self, file: PositionedFile) -> None:
        self._file = file
        self._data_starts: dict[str, int] = {}
        self._spelled: dict[bytes, Member] = {}
        self.members: dict[str, Member] = self._read_directory()

    def read(self, name: str, start: int, size: int) -> bytearray:
        """Return `size` unpacked bytes of a member from position `start` inside it.

        Raises:
            CheckpointError: no such member, the range leaves it, or its compressed data is damaged.

        """
        member = self.members.get(name)
        if member is None:
            raise self.error(tr("is missing from the archive"), name)
        if start < 0 or size < 0 or start + size > member.size:
            raise self.error(
                tr(
                    "bytes {start} to {end} lie outside its {size} bytes",
                    start=start,
                    end=start + size,
                    size=member.size,
                ),
                name,
            )
        data_start = self._data_start(member)
        if member.method == _STORED:
            return self._file.read(data_start + start, size, name)
        return self._inflate(member, data_start, start, size)

    def data_start(self, name: str) -> int:
        """Return the position in the file of a member's first byte, packed or not.

        Raises:
            CheckpointError: its local header is damaged, or disagrees with the directory.

        """
        return self._data_start(self.members[name])

    def checksum_places(self, name: str, checksum: int) -> tuple[int, ...]:
        """Return every position in the file that has a member's checksum (CRC-32, 4 bytes, little-endian).

        `checksum` is that of its bytes. What stands before its data may have it, too, where it stands behind as well.

        Raises:
            CheckpointError: the file has another: its bytes are not those that were saved.

        """
        member = self.members[name]
        behind = self._data_start(member) + member.packed_size
        before, entry = member.start + _CHECKSUM_IN_HEADER, member.entry + _CHECKSUM_IN_ENTRY
        flags = _LOCAL.unpack(self._file.read(member.start, _LOCAL.size, name))[2]
        places = [entry]
        if flags & _SIZES_FOLLOW:
            signed = bytes(self._file.read(behind, 4, name)) == b"PK\x07\x08"
            places.append(behind + 4 * signed)
        else:
            places.append(before)
        expected = checksum.to_bytes(4, "little")
        if any(bytes(self._file.read(place, 4, name)) != expected for place in places):
            raise self.error(tr("its bytes do not have the checksum that the file gives them: it is damaged"), name)
        if flags & _SIZES_FOLLOW and checksum and bytes(self._file.read(before, 4, name)) == expected:
            places.append(before)
        return tuple(places)

    def find(self, name: str) -> Member | None:
        """Return the member that torch finds under a name, without regard to the case of its letters."""
        return self._spelled.get(name.encode("utf-8", "surrogatepass").lower())

    def ending(self, ending: str) -> list[str]:
        """Return the names that end so, without regard to the case of their letters."""
        raw = ending.encode().lower()
        return [member.name for spelling, member in self._spelled.items() if spelling.endswith(raw)]

    def error(self, reason: str, member: str = "") -> CheckpointError:
        """Return the error that says what is wrong with the archive, or with a member of it."""
        return self._file.error(reason, member)

    def _read_directory(self) -> dict[str, Member]:
        count, size, start = find_directory(self._file)
        if size > _MAX_DIRECTORY:
            raise self.error(
                tr("{size} bytes, more than the {most} that are read", size=size, most=_MAX_DIRECTORY),
                DIRECTORY_NAME,
            )
        directory = self._file.read(start, size, DIRECTORY_NAME)
        found: list[tuple[int, int, int, int, str, bytes, int]] = []
        position = 0
        for _ in range(count):
            if position + _CENTRAL.size > size:
                raise self.error(tr("ends early"), DIRECTORY_NAME)
            entry = _CENTRAL.unpack_from(directory, position)
            flags, method = entry[3], entry[4]
            packed, full = entry[8], entry[9]
            name_length, extra_length, comment_length = entry[10:13]
            header = entry[16]
            name_end = position + _CENTRAL.size + name_length
            end = name_end + extra_length + comment_length
            if entry[0] != b"PK\x01\x02" or end > size:
                raise self.error(tr("is damaged"), DIRECTORY_NAME)
            raw_name = bytes(directory[position + _CENTRAL.size : name_end])
            name = raw_name.decode("utf-8", "backslashreplace")
            if UNKNOWN in (packed, full, header):
                extra = bytes(directory[name_end : name_end + extra_length])
                full, packed, header = self._zip64(name, extra, full, packed, header)
            if flags & _ENCRYPTED or method not in (_STORED, _DEFLATED):
                raise self.error(tr("is encrypted or compressed with an unsupported method"), name)
            if full and (entry[15] & _DIRECTORY or raw_name.endswith(b"/")):
                raise self.error(tr("has the name of a folder, but holds bytes"), name)
            if method == _STORED and packed != full:
                raise self.error(
                    tr("is stored, but claims {packed} bytes packed and {full} unpacked", packed=packed, full=full),
                    name,
                )
            found.append((header, packed, full, method, name, raw_name, start + position))
            position = end
        if position != size:
            raise self.error(tr("holds more entries than it counts"), DIRECTORY_NAME)
        return self._in_order(found, start)

    def _zip64(self, name: str, extra: bytes, full: int, packed: int, header: int) -> tuple[int, int, int]:
        """Return (size, packed size, header position) with the 64-bit values of the extra field filled in."""
        at = 0
        while at + 4 <= len(extra):
            kind, length = struct.unpack_from("<2H", extra, at)
            at += 4
            if kind == 1 and at + length <= len(extra) and length // 8 >= (full, packed, header).count(UNKNOWN):
                values = iter(struct.unpack_from(f"<{length // 8}Q", extra, at))
                full = next(values) if full == UNKNOWN else full
                packed = next(values) if packed == UNKNOWN else packed
                header = next(values) if header == UNKNOWN else header
                return full, packed, header
            at += length
        raise self.error(tr("lacks the 64-bit sizes that its zip entry refers to"), name)

    def _in_order(
        self, found: list[tuple[int, int, int, int, str, bytes, int]], directory_start: int
    ) -> dict[str, Member]:
        """Return the members by name, each with where it must have ended, from the last in the file to the first."""
        members: dict[str, Member] = {}
        limit = directory_start
        found.sort(reverse=True)
        for start, packed, full, method, name, raw_name, entry in found:
            if name in members:
                raise self.error(tr("is listed twice in the zip directory"), name)
            # Torch finds a member by its letters in any case, up to the first NUL.
            spelling = raw_name.lower()
            if spelling in self._spelled or b"\0" in raw_name:
                raise self.error(tr("is named so that torch takes it for another, or another for it"), name)
            if start + _LOCAL.size + len(raw_name) + packed > limit:
                raise self.error(tr("overlaps another member of the archive or the zip directory"), name)
            members[name] = self._spelled[spelling] = Member(name, start, packed, full, method, raw_name, limit, entry)
            limit = start
        return members

    def _data_start(self, member: Member) -> int:
        known = self._data_starts.get(member.name)
        if known is not None:
            return known
        header = self._file.read(member.start, _LOCAL.size, member.name)
        signature, _, flags, method, _, _, _, packed, full, name_length, extra_length = _LOCAL.unpack(header)
        patched = member.start == 0 and signature[2:] == b"\x03\x04"
        if (signature != b"PK\x03\x04" and not patched) or method != member.method or flags & _ENCRYPTED:
            raise self.error(tr("its local header disagrees with the zip directory"), member.name)
        name_at = member.start + _LOCAL.size
        names = bytes(self._file.read(name_at, name_length + extra_length, member.name))
        if names[:name_length] != member.raw_name:
            raise self.error(tr("its local header disagrees with the zip directory about its name"), member.name)
        if not flags & _SIZES_FOLLOW:
            if UNKNOWN in (packed, full):
                full, packed, _ = self._zip64(member.name, names[name_length:], full, packed, 0)
            if (packed, full) != (member.packed_size, member.size):
                raise self.error(tr("its local header disagrees with the zip directory about its size"), member.name)
        start = name_at + len(names)
        if start + member.packed_size > member.limit:
            raise self.error(tr("overlaps another member of the archive or the zip directory"), member.name)
        self._data_starts[member.name] = start
        return start

    def _inflate(self, member: Member, data_start: int, start: int, size: int) -> bytearray:
        if member.size > _MAX_INFLATED:
            raise self.error(
                tr("claims to unpack to {size} bytes, more than is read from compressed data", size=member.size),
                member.name,
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
                # No more than is asked for: beginnings of many members together must not unpack to gigabytes.
                piece = machine.decompress(pending, min(_PIECE, skip + size - len(out)))
            except zlib.error:
                raise self.error(tr("its compressed data is damaged"), member.name) from None
            if not piece and (machine.eof or packed_at >= member.packed_size):
                raise self.error(tr("its compressed data ends before its claimed size"), member.name)
            pending = machine.unconsumed_tail
            if skip >= len(piece):
                skip -= len(piece)
            else:
                out += piece[skip : skip + size - len(out)]
                skip = 0
        return out
