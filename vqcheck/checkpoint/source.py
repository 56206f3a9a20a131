"""What the module of a format has to do with: a file whose format is asked for, and what is asked of it."""

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Final, Protocol

from vqcheck.checkpoint.file import PositionedFile
from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.checkpoint.torch_meaning import PickledIndex
from vqcheck.language import tr

if TYPE_CHECKING:
    from vqcheck.checkpoint.zip_archive import ZipArchive

_HEAD: Final = 512


class Source:
    """A file whose format is asked for.

    Attributes:
        file: the open file.
        head: its first bytes, 512 at most.
        is_shard: an index of a sharded checkpoint led to it.
        known: the index of another torch zip archive, whose pickle may have the same bytes.

    """

    def __init__(
        self,
        file: PositionedFile,
        *,
        is_shard: bool = False,
        open_shard: "Callable[[str], Checkpoint] | None" = None,
        known: PickledIndex | None = None,
    ) -> None:
        self.file = file
        self._open_shard = open_shard
        self.head: bytes = bytes(file.read(0, min(file.size, _HEAD), "beginning of the file"))
        self.is_shard = is_shard
        self.known = known

    def open_shard(self, path: str) -> Checkpoint:
        """Open a file that this one, an index, leads to."""
        if self._open_shard is None:
            raise self.file.error(tr("leads to further files, where the values themselves are expected"))
        return self._open_shard(path)

    @property
    def is_zip(self) -> bool:
        """Whether it begins as a zip archive, also with GPT-SoVITS's version code in place of the first two bytes."""
        return self.head[2:4] == b"\x03\x04" and (self.head[:2] == b"PK" or self.head[:2].isdigit())

    @property
    def header_code(self) -> str:
        """The version code that stands in place of a zip archive's first two bytes; empty where none does."""
        return "" if self.head[:2] == b"PK" else self.head[:2].decode()

    @cached_property
    def archive(self) -> "ZipArchive":
        """The zip archive that it is; `CheckpointError` where it is none."""
        from vqcheck.checkpoint.zip_archive import ZipArchive

        if self.head[6:8] == b"\0\0" and self.head[8:9] in (b"{", b" ", b"\t", b"\r", b"\n"):
            raise self.file.error(tr("begins as an archive and as a safetensors file; save it again as one"))
        return ZipArchive(self.file)


class Format(Protocol):
    """What the module of a format has."""

    def recognises(self, source: Source, /) -> bool:
        """Say whether the file is of this format, be it sound or damaged."""

    def open_source(self, source: Source, /) -> Checkpoint:
        """Return the open checkpoint; `CheckpointError` where it cannot be read, or not safely."""
