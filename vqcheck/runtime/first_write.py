"""Catches the operator, and the line of Python, that writes a watched tensor."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType
from typing import Any, Final, Protocol

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from vqcheck.runtime.bits import same_bits
from vqcheck.runtime.finding import Write
from vqcheck.runtime.live import Names

_TORCH: Final = os.path.dirname(torch.__file__) + os.sep
_OWN: Final = (__file__,)


class Watched(Protocol):
    """Tensors by label, and copies of them as they were at the last look."""

    def tensors(self) -> Mapping[str, Tensor]:
        """Return the tensors as they stand now."""

    def written(self, labels: list[str]) -> list[str]:
        """Return those of `labels` whose bits changed since the last look at them, and take new copies of these."""


class LastLook:
    """Copies as of the last look at them: a second copy of the VQ encoder, for the one step in which it is needed."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._last = {name: tensor.clone() for name, tensor in self.tensors().items()}

    def tensors(self) -> Mapping[str, Tensor]:
        """Return the tensors as they stand now."""
        return self._names.tensors()

    def written(self, labels: list[str]) -> list[str]:
        """Return those of `labels` whose bits changed since the last look at them, and take new copies of these."""
        now = self.tensors()
        changed = [
            label
            for label in labels
            if label in now and not (label in self._last and same_bits(now[label], self._last[label]))
        ]
        for label in changed:
            self._last[label] = now[label].clone()
        return changed


class WriteCatcher(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While active, looks at the watched tensors after every operator that writes to one of them.

    `first` is the first write that changed bits, by label. An operator that writes the bits that were there already is
    passed over: a frozen codebook may be written, as long as it stays the same. Another tensor under the same name is
    noticed at the next operator, and put down to the line of the operator before. A write past torch's dispatcher (an
    alias in numpy) is not seen here; the comparison after the step sees it.
    """

    def __init__(self, watched: Watched) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._watched = watched
        self._storages = self._now()
        self._last_place = Write("rebinding", "", 0, "")
        self.first: dict[str, Write] = {}

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        self.catch_rebinding()
        result = func(*args, **kwargs)
        if func._schema.is_mutable:  # noqa: SLF001 - the only place that says what an operator writes
            written = {_storage(tensor) for tensor in _written_tensors(func, args, kwargs)}
            touched = [label for label, storage in self._storages.items() if storage in written]
            for label in self._watched.written(touched) if touched else ():
                self.first.setdefault(label, _here(str(func)))
        self._last_place = _here("rebinding")
        return result

    def start(self) -> None:
        """Begin to look, until `stop`, at everything that this thread does: for a span that no with block can mark."""
        self.__enter__()  # type: ignore[no-untyped-call]

    def stop(self) -> None:
        """Look no more; catch what was put under a watched name after the last operator."""
        self.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        self.catch_rebinding()

    def catch_rebinding(self) -> None:
        """Look for names that lead to other tensors since the last operator."""
        now = self._now()
        if now == self._storages:
            return
        rebound = [label for label, storage in now.items() if storage != self._storages.get(label)]
        self._storages = now
        for label in self._watched.written(rebound):
            self.first.setdefault(label, self._last_place)

    def _now(self) -> dict[str, int]:
        return {label: _storage(tensor) for label, tensor in self._watched.tensors().items()}


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _written_tensors(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[Tensor]:
    for position, argument in enumerate(func._schema.arguments):  # noqa: SLF001
        if argument.alias_info is None or not argument.alias_info.is_write:
            continue
        value = args[position] if position < len(args) else kwargs.get(argument.name)
        for tensor in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(tensor, Tensor) and tensor.layout == torch.strided:
                yield tensor


def _here(operator: str) -> Write:
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the documented way to walk the stack cheaply
    while frame and (frame.f_code.co_filename in _OWN or frame.f_code.co_filename.startswith(_TORCH)):
        frame = frame.f_back
    if frame is None:
        return Write(operator, "", 0, "")
    return Write(operator, frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
