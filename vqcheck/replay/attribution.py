"""Catches the operator, and the line of Python, that writes a watched tensor."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from vqcheck.replay.watch import Watch

_TORCH: Final = os.path.dirname(torch.__file__) + os.sep
_OWN: Final = (__file__,)


@dataclass(frozen=True)
class Write:
    """One write that changed bits: the operator, and the innermost line of Python outside torch."""

    operator: str
    file: str
    line: int
    function: str


class WriteCatcher(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While active, looks at the watched tensors after every operator that writes to one of them.

    `first` is the first write that changed bits, by label. An operator that writes the bits that were there already is
    passed over: a frozen codebook may be written, as long as it stays the same. Writes past torch's dispatcher (an
    alias in numpy, another tensor under the same name) are not seen here; the comparison after the step sees them.
    """

    def __init__(self, watch: Watch) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._watch = watch
        self.first: dict[str, Write] = {}

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func._schema.is_mutable:  # noqa: SLF001 - the only place that says what an operator writes
            written = {_storage(tensor) for tensor in _written_tensors(func, args, kwargs)}
            touched = [label for label, tensor in self._watch.tensors().items() if _storage(tensor) in written]
            for label in self._watch.written(touched) if touched else ():
                self.first.setdefault(label, _here(func))
        return result


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


def _here(func: Any) -> Write:
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the documented way to walk the stack cheaply
    while frame and (frame.f_code.co_filename in _OWN or frame.f_code.co_filename.startswith(_TORCH)):
        frame = frame.f_back
    if frame is None:
        return Write(str(func), "", 0, "")
    return Write(str(func), frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
