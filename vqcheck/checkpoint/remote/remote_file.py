"""A remote file behind the reads that every checkpoint is read by: few requests, bounded memory, each byte once."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

from vqcheck.checkpoint.file import PositionedFile
from vqcheck.checkpoint.remote.address import Address

_BLOCK: Final = 64 << 10
_AHEAD: Final = 4
"""Blocks that are fetched at least, where nothing says what will be read."""
_MOST_AHEAD: Final = 64
"""Where one read follows on the other, that many."""
_MOST_AT_ONCE: Final = 256
_MOST_KEPT: Final = 1_536
"""Blocks that are kept: 96 MiB."""
_MOST_PLANNED: Final = 4_096
"""Blocks that are planned to be read at most: 256 MiB."""
_GAP: Final = 4
"""Blocks between two runs that will be read, which are fetched with them: a request costs more."""


class RemoteBytes(Protocol):
    """Where the bytes come from: exactly those asked for, and all of one and the same object, or an error."""

    size: int

    def fetch(self, start: int, size: int) -> bytes:
        """Return `size` bytes from `start`."""

    def close(self) -> None:
        """Let connections go."""


class RemoteFile(PositionedFile):
    """A file that is read over the network by position.

    Its source compares every answer with the first, so there is nothing to look at in the end.
    """

    is_remote = True

    def __init__(self, address: Address, source: RemoteBytes, siblings: Callable[[str], Address]) -> None:
        self.path = address
        self.siblings = siblings
        self.size = source.size
        self.bytes_read = 0
        self._source = source
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._planned: set[int] = set()
        self._next = -1
        self._ahead = _AHEAD

    def expect(self, start: int, size: int) -> None:
        end = min(start + size, self.size)
        # What is planned follows from what a file claims; what is read is checked, and this is not.
        if end > start >= 0 and size <= _MOST_PLANNED * _BLOCK and len(self._planned) < _MOST_PLANNED:
            blocks = set(range(start // _BLOCK, (end - 1) // _BLOCK + 1))
            for gap in range(1, _GAP + 1):
                # What lies between this run and one that is known already.
                for edge, step in ((min(blocks), -1), (max(blocks), 1)):
                    if edge + step * (gap + 1) in self._planned:
                        blocks |= {edge + step * each for each in range(1, gap + 1)}
            self._planned |= blocks

    def _fill(self, start: int, buffer: memoryview) -> int:
        end = start + len(buffer)
        for block in range(start // _BLOCK, (end - 1) // _BLOCK + 1):
            data = self._block(block, (end - 1) // _BLOCK)
            first, last = max(start, block * _BLOCK), min(end, block * _BLOCK + len(data))
            buffer[first - start : last - start] = data[first - block * _BLOCK : last - block * _BLOCK]
        return len(buffer)

    def _block(self, number: int, last: int) -> bytes:
        if number not in self._blocks:
            self._fetch(number, last)
        self._blocks.move_to_end(number)
        return self._blocks[number]

    def _fetch(self, first: int, last: int) -> None:
        """Fetch a block that is missing, and in the same request what is wanted or likely to be wanted behind it."""
        end_of_file = (self.size - 1) // _BLOCK
        self._ahead = min(self._ahead * 2, _MOST_AHEAD) if first == self._next else _AHEAD
        wanted = last if first in self._planned else max(last, first + self._ahead - 1)
        while wanted + 1 in self._planned:
            wanted += 1
        while first in self._planned and first - 1 in self._planned and first - 1 not in self._blocks:
            if wanted - first + 1 >= _MOST_AT_ONCE:
                break
            first -= 1
        wanted = min(wanted, end_of_file, first + _MOST_AT_ONCE - 1)
        while wanted > last and wanted in self._blocks:
            wanted -= 1
        if wanted == end_of_file:
            # Formats that are read from their end are read backwards from there.
            while first and wanted - first + 1 < _AHEAD and first - 1 not in self._blocks:
                first -= 1
        begin = first * _BLOCK
        data = self._source.fetch(begin, min((wanted + 1) * _BLOCK, self.size) - begin)
        for number in range(first, wanted + 1):
            at = (number - first) * _BLOCK
            self._blocks[number] = data[at : at + _BLOCK]
        self._next = wanted + 1
        while len(self._blocks) > _MOST_KEPT:
            self._blocks.popitem(last=False)

    def is_same(self, other: PositionedFile) -> bool:
        return isinstance(other, RemoteFile) and other._target == self._target and other.size == self.size  # noqa: SLF001

    def is_at(self, path: str) -> bool:
        del path
        return False

    def check_unchanged(self) -> None:
        pass

    def close(self) -> None:
        self._source.close()

    @property
    def _target(self) -> str:
        return Address(self.path).target
