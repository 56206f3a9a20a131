"""An open checkpoint: the index of its tensors, and reading one of them with every claim checked first."""

import copy
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from itertools import islice
from math import prod
from types import TracebackType
from typing import Any, Final

from vqcheck.checkpoint import container
from vqcheck.checkpoint.container import Plain
from vqcheck.checkpoint.file import PositionedFile
from vqcheck.checkpoint.stored_tensor import ITEM_SIZE, Extent, StoredTensor, unsupported
from vqcheck.checkpoint.strides import in_c_order, is_dense
from vqcheck.checkpoint.torch_meaning import PickledIndex
from vqcheck.language import tr
from vqcheck.sanitize import sanitize, sanitize_name

MAX_TENSOR_BYTES: Final = 128 << 20
"""Largest tensor that is read; no codebook or projection in use comes near it."""

PIECE_BYTES: Final = 1 << 18
"""Bytes that `Checkpoint.pieces` yields at a time; a multiple of every element's width."""

_MOST_SHOWN: Final = 200
"""Tensors in a notebook's table."""
_FREE_BYTES: Final = 8 << 20
_MOST_TIMES: Final = 2
"""What tensors may claim together: this much in any file, and this many times what the file has."""

_IN_FRONT: Final = 1 << 10
"""What stands between the start of an extent and its bytes, in an archive; rarely more."""

_KEPT_BYTES: Final = 64 << 20
"""What `keep_what_is_read` keeps at most."""


ReadExtent = Callable[[Extent, int, int], bytes | bytearray]
"""(extent, start inside it, size) -> bytes."""


class Checkpoint:
    """An open checkpoint: an index of its tensors, and a way to read one of them.

    Use it as a context manager. Opening reads the index alone.

    Attributes:
        path: the file as the user named it.
        format: `torch zip`, `torch legacy`, `safetensors`, `sharded`, or another that docs/formats.md names.
        header_code: the two characters GPT-SoVITS writes over a zip's first two bytes, or an empty text.
        keys: what leads to the state dict that `tensors` are of; empty when the saved object itself is it.
        tensors: name -> StoredTensor.
        files: every file that was opened until now; one, unless the checkpoint is sharded or distributed.
        classes: names of the classes whose code runs when Python loads the file with weights_only=False.
        module_classes: names of the classes of modules that were saved whole: what Python makes of the values that
            are stored, their code decides. `open_checkpoint` refuses such a file, `open_as_stored` does not.
        missing_files: names of files that the checkpoint refers to and that are not there.
        elsewhere: gives what the saved object refers to beside its state dicts; nameless, as far as bytes go.

    """

    def __init__(
        self,
        files: list[PositionedFile],
        path: str,
        format: str,  # noqa: A002 - the word users know
        tensors: Mapping[str, StoredTensor],
        read_extent: ReadExtent,
        *,
        header_code: str = "",
        keys: tuple[str, ...] = (),
        others: Mapping[tuple[str, ...], Mapping[str, StoredTensor]] | None = None,
        root: object = None,
        classes: tuple[str, ...] = (),
        elsewhere: Callable[[], Iterable[StoredTensor]] = tuple,
        module_classes: tuple[str, ...] = (),
        missing_files: tuple[str, ...] = (),
        stored_bytes: int | None = None,
    ) -> None:
        self.path = path
        self.format = format
        self.header_code = header_code
        self.keys = keys
        self.tensors = tensors
        self.files = files
        self.read_extent: ReadExtent = read_extent
        self._others = others or {}
        self.classes = classes
        self.elsewhere = elsewhere
        self.module_classes = module_classes
        self.missing_files = missing_files
        self._stored_bytes = stored_bytes
        self._root = root
        self.index: PickledIndex | None = None
        """Of a torch zip archive, for another one that may have the same."""
        self.remembered: dict[object, Any] | None = None
        """What was calculated from its bytes, by whoever did; None unless `keep_what_is_read` was called."""

    def __repr__(self) -> str:
        return f"<checkpoint {sanitize(self.path)}: {self.format}, {len(self.tensors)} tensors>"

    def _repr_html_(self) -> str:
        from vqcheck.notebook import html_table

        tensors = ((name, each.dtype, list(each.shape)) for name, each in self.tensors.items())
        caption = f"{self.path}: {self.format}, {len(self.tensors)} tensors"
        return html_table(caption, ("tensor", "type", "shape"), islice(tensors, _MOST_SHOWN))

    @cached_property
    def information(self) -> dict[str, Plain]:
        """What the file says beside its tensors (`info`, `config`, `iteration`, ...), as plain values."""
        return container.information(self._root)

    @property
    def container(self) -> str:
        """The keys that lead to the state dict that is used, joined with dots."""
        return ".".join(self.keys)

    @property
    def other_containers(self) -> tuple[str, ...]:
        """Further state dicts of the file."""
        return tuple(map(".".join, self._others))

    @cached_property
    def state_dicts(self) -> tuple["Checkpoint", ...]:
        """This file once for each state dict in it, this one first; all read through the same open file."""
        return (self.only(self.keys), *map(self.only, self._others)) if self._others else (self,)

    def only(self, keys: tuple[str, ...]) -> "Checkpoint":
        """Return the same open file with one of its state dicts alone; `KeyError` where it has no such one."""
        view = copy.copy(self)
        view.__dict__.pop("state_dicts", None)
        if keys != self.keys:
            view.keys, view.tensors = keys, self._others[keys]
        view._others = {}  # noqa: SLF001 - its own
        return view

    def require_readable(self, tensor: StoredTensor) -> None:
        """Raise CheckpointError where what the file claims of a tensor already shows that it cannot be read."""
        self._checked_span(tensor)

    @cached_property
    def has_optimizer(self) -> bool:
        """Whether the file holds an optimizer's state beside its tensors, as what training resumes from does."""
        return container.has_optimizer(self._root)

    def keep_what_is_read(self) -> None:
        """Read bytes once, and let what follows from them be remembered, for a file that is compared with many."""
        self.read_extent = _Kept(self.read_extent)
        self.remembered = {}

    def head(self, size: int) -> bytes:
        """Return the first `size` bytes of the (first) file, or all of a shorter one."""
        known = self.remembered.get(("head", size)) if self.remembered is not None else None
        if isinstance(known, bytes):
            return known
        found = bytes(self.files[0].read(0, min(size, self.files[0].size), "beginning of the file"))
        if self.remembered is not None:
            self.remembered["head", size] = found
        return found

    def read(self, tensor: StoredTensor) -> bytes | bytearray:
        """Return the tensor's elements: C order, little-endian, in its stored element type.

        Raises:
            CheckpointError: an unsupported element type, claims that do not fit the stored bytes, a file that
                ends early.

        """
        span = self._checked_span(tensor)
        if not span:
            return b""
        data = self.read_extent(tensor.extent, tensor.offset, span)
        return data if is_dense(tensor) else in_c_order(data, tensor, ITEM_SIZE[tensor.dtype])

    def pieces(self, tensor: StoredTensor) -> Iterator[bytes | bytearray]:
        """Yield what `read` returns, a piece at a time, so that two large tensors are compared in little memory.

        A tensor that is packed or not stored in one run comes as one piece.

        Raises:
            CheckpointError: as `read`.

        """
        span = self._checked_span(tensor)
        if tensor.extent.packed or not is_dense(tensor):
            yield self.read(tensor)
            return
        for start in range(0, span, PIECE_BYTES):
            yield self.read_extent(tensor.extent, tensor.offset + start, min(PIECE_BYTES, span - start))

    def _checked_span(self, tensor: StoredTensor) -> int:
        """Return how many bytes the tensor is spread over, once every claim about it has been checked."""
        error = self.files[0].error
        width = ITEM_SIZE.get(tensor.dtype)
        if tensor.problem or width is None:
            raise error(tensor.problem or unsupported(tensor.dtype), tensor.name)
        size = prod(tensor.shape) * width
        if size > MAX_TENSOR_BYTES:
            raise error(
                tr(
                    "claims {size} bytes, more than the {most} that are read",
                    size=size,
                    most=MAX_TENSOR_BYTES,
                ),
                tensor.name,
            )
        if not size:
            return 0
        reach = sum((length - 1) * step for length, step in zip(tensor.shape, tensor.stride, strict=True))
        span = (reach + 1) * width
        if tensor.offset + span > tensor.extent.size:
            raise error(
                tr("claims bytes outside its storage ({member})", member=sanitize_name(tensor.extent.member)),
                tensor.name,
            )
        if span > MAX_TENSOR_BYTES:
            raise error(
                tr(
                    "is spread over {span} bytes, more than the {most} that are read",
                    span=span,
                    most=MAX_TENSOR_BYTES,
                ),
                tensor.name,
            )
        return span

    def require_stored(self, tensors: Iterable[StoredTensor]) -> None:
        """Raise CheckpointError when reading these tensors takes far more bytes than the file has.

        Many tensors may claim the same bytes, an expanded tensor repeats one element, and each read of packed data
        starts at its beginning: time and memory must follow the size of the file, not what it claims.
        """
        tensors = tuple(tensors)
        runs = {
            (tensor.extent, tensor.offset, tensor.shape, tensor.stride): tensor.extent.packed * tensor.offset
            + prod(tensor.shape) * ITEM_SIZE.get(tensor.dtype, 0)
            for tensor in tensors
        }
        claimed = sum(runs.values())
        # Of a distributed checkpoint the files are opened when they are read.
        stored = sum(file.size for file in self.files) if self._stored_bytes is None else self._stored_bytes
        if claimed > _FREE_BYTES + _MOST_TIMES * stored:
            raise self.files[0].error(
                tr(
                    "its VQ encoder claims {claimed} bytes, far more than the file's {stored}",
                    claimed=claimed,
                    stored=stored,
                )
            )
        self._expect(tensors)

    def _expect(self, tensors: Iterable[StoredTensor]) -> None:
        """Tell files that are read over the network what will be read of them, so that they ask for it at once."""
        remote = {os.path.basename(file.path): file for file in self.files if file.is_remote}
        for tensor in tensors if remote else ():
            extent = tensor.extent
            file = remote.get(extent.shard or os.path.basename(self.files[0].path))
            if file and not extent.packed:
                span = prod(tensor.shape) * ITEM_SIZE.get(tensor.dtype, 0)
                file.expect(extent.start, _IN_FRONT + tensor.offset + span)

    def is_same_file(self, other: "Checkpoint") -> bool:
        """Say whether the two were opened by names, links among them, of one file."""
        return bool(self.files and other.files) and self.files[0].is_same(other.files[0])

    def check_unchanged(self) -> None:
        """Raise CheckpointError when the file was written to or replaced since it was opened."""
        for file in self.files:
            file.check_unchanged()

    def close(self) -> None:
        for file in self.files:
            file.close()

    def __enter__(self) -> "Checkpoint":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.check_unchanged()
        finally:
            self.close()


class _Kept:
    """Reads each run of bytes once. Whether the file is still the same is asked elsewhere, after each comparison."""

    def __init__(self, read: ReadExtent) -> None:
        self._read = read
        self._kept: dict[tuple[Extent, int, int], bytes | bytearray] = {}
        self._room = _KEPT_BYTES

    def __call__(self, extent: Extent, start: int, size: int) -> bytes | bytearray:
        key = (extent, start, size)
        data = self._kept.get(key)
        if data is None:
            data = self._read(extent, start, size)
            if size <= self._room:
                # Nobody may change what the next one gets.
                data = self._kept[key] = bytes(data)
                self._room -= size
        return data
