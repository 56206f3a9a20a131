"""Where a zip archive's directory lies, as the records at the end of the file say."""

import struct
from typing import Final

from vqcheck.checkpoint.file import PositionedFile
from vqcheck.language import tr

# End record:     signature, disk, directory disk, entries here, entries, directory size and start, comment length
_END: Final = struct.Struct("<4s4H2LH")
# Zip64 locator:  signature, disk, position of the zip64 end record, disks
_LOCATOR64: Final = struct.Struct("<4sLQL")
# Zip64 end:      signature, record size, versions, disks, entries here, entries, directory size, directory start
_END64: Final = struct.Struct("<4sQ2H2L4Q")
DIRECTORY_NAME: Final = tr("zip directory")
_DIRECTORY64_NAME: Final = tr("zip64 directory")
UNKNOWN: Final = 0xFFFFFFFF
"""Stands for a number too large for its 32-bit field; the zip64 extra field or end record has it."""
_UNKNOWN_END: Final = (0xFFFF, UNKNOWN, UNKNOWN)
"""The same for an end record's entries, directory size and directory start."""


def find_directory(file: PositionedFile) -> tuple[int, int, int]:
    """Return (entries, bytes, position) of the central directory.

    Raises:
        CheckpointError: it is not found, or its records disagree about it.

    """
    tail_size = min(file.size, _END.size + 0xFFFF)
    tail_start = file.size - tail_size
    tail = file.read(tail_start, tail_size, tr("end of the file"))
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + _END.size > tail_size:
        raise file.error(tr("not found at the end of the file (truncated?)"), DIRECTORY_NAME)
    _, disk, directory_disk, here, count, size, start, comment = _END.unpack_from(tail, at)
    if at + _END.size + comment != tail_size:
        raise file.error(tr("is followed by other bytes"), DIRECTORY_NAME)
    end = tail_start + at
    numbers = _end64(file, end - _LOCATOR64.size)
    if numbers:
        short = (count, size, start)
        disk, directory_disk, here, count, size, start = numbers
        end -= _LOCATOR64.size + _END64.size
        if any(a not in (b, c) for a, b, c in zip(short, (count, size, start), _UNKNOWN_END, strict=True)):
            raise file.error(tr("its two end records disagree"), DIRECTORY_NAME)
    if disk or directory_disk or here != count:
        raise file.error(tr("spans several disks"), DIRECTORY_NAME)
    if start + size != end:
        # Readers that look for it from the other side would find another one.
        raise file.error(tr("does not lie where the end of the file says"), DIRECTORY_NAME)
    return count, size, start


def _end64(file: PositionedFile, locator_at: int) -> tuple[int, ...]:
    """Return the numbers of the zip64 end record, or nothing when no locator at this position leads to one."""
    if locator_at < _END64.size:
        return ()
    signature, _, position, _ = _LOCATOR64.unpack(file.read(locator_at, _LOCATOR64.size, DIRECTORY_NAME))
    if signature != b"PK\x06\x07":
        return ()
    end64 = file.read(locator_at - _END64.size, _END64.size, _DIRECTORY64_NAME)
    if end64[:4] != b"PK\x06\x06" or position != locator_at - _END64.size:
        raise file.error(tr("is damaged"), _DIRECTORY64_NAME)
    return _END64.unpack(end64)[4:10]
