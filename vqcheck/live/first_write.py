"""Catches the operator, and the line of Python, that writes a tensor of a live VQ encoder."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from types import FrameType
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from vqcheck.live.encoder import LiveEncoder
from vqcheck.live.tensor_change import OPTIMIZER_STEP, SourceLine, Write
from vqcheck.live.train_override import train_override
from vqcheck.live.watch import same_bits

_TORCH: Final = os.path.dirname(torch.__file__) + os.sep
_OPTIMIZERS: Final = os.path.join(_TORCH, "optim") + os.sep
_PYTHON: Final = os.path.dirname(os.__file__) + os.sep
_OWN: Final = os.path.dirname(os.path.dirname(__file__)) + os.sep
_NOT_COMPILED: Final = "__dynamo_disable"
"""Where torch keeps the form of a function that its compiler leaves alone."""
_INSTALLED: Final = ("site-packages", "dist-packages")


class WriteCatcher(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While active, looks at the tensors of a VQ encoder after every operator that writes to one of them.

    `first` is the first write that changed bits, by name. An operator that writes the bits that were there already is
    left out: a frozen codebook may be written, as long as it stays the same. Another tensor under the same name is
    noticed at the next operator, and put down to the line of the operator before. A write past torch's dispatcher (an
    alias in numpy) is not seen here; the comparison after the step sees it.
    """

    def __init__(self, encoder: LiveEncoder) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._encoder = encoder
        overrides = [train_override(module) for module in encoder.module.modules()]
        self._held = [override for override in overrides if override]
        self._live = encoder.now()
        self._last = {name: tensor.clone() for name, tensor in self._live.items()}
        self._places = self._now()
        self._last_place = _innermost_line()
        self.first: dict[str, Write] = {}
        self.used = False
        """Whether any operator computed with a tensor of the VQ encoder, or wrote to one; a view alone does not."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        self._catch_rebinding()
        if not self.used and not _is_view(func):
            ours = {place[0] for place in self._places.values()}
            self.used = any(_storage(tensor) in ours for tensor in _tensors_in((args, kwargs)))
        result = func(*args, **kwargs)
        if func._schema.is_mutable:  # noqa: SLF001 - the only place that says what an operator writes
            written = {_storage(tensor) for tensor in _written_tensors(func, args, kwargs)}
            touched = [name for name, place in self._places.items() if place[0] in written]
            for name in self._changed(touched) if touched else ():
                self.first.setdefault(name, _write(str(func)))
        self._last_place = _innermost_line()
        return result

    def __enter__(self) -> WriteCatcher:
        _leave_compiler_out()
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def start(self) -> None:
        """Begin to look, until `stop`, at everything that this thread does: for a span that no with block can mark."""
        self.__enter__()

    def stop(self) -> None:
        """Look no more."""
        self.__exit__(None, None, None)

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        # what was put under a watched name after the last operator
        self._catch_rebinding()

    def _catch_rebinding(self) -> None:
        """Look for names that lead to other tensors since the last operator, or to none."""
        now = self._now()
        if now == self._places:
            return
        rebound = [name for name, place in now.items() if place != self._places.get(name)]
        place, gone = self._last_place, self._places.keys() - now.keys()
        for name in self._changed(rebound):
            self.first.setdefault(name, Write("rebinding", place.file, place.line, place.function))
        for name in gone:
            self.first.setdefault(name, Write("deletion", place.file, place.line, place.function))
        self._places = now

    def _changed(self, names: Sequence[str]) -> list[str]:
        """Return those whose bits changed since the last look at them, and keep new copies of these."""
        now = self._tensors()
        there = [name for name in names if name in now]
        changed = [name for name in there if name not in self._last or not same_bits(now[name], self._last[name])]
        for name in changed:
            self._last[name] = now[name].clone()
        return changed

    def _now(self) -> dict[str, tuple[object, ...]]:
        return {name: _place(tensor) for name, tensor in self._tensors().items()}

    def _tensors(self) -> dict[str, Tensor]:
        """Return the watched tensors; where a held module runs on copies of them, those that it will have again."""
        if not any(override.in_scratch for override in self._held):
            self._live = self._encoder.now()
        return self._live


def _leave_compiler_out() -> None:
    """Keep torch from importing its compiler, which takes up to seconds, only to say that it is to leave this alone.

    Where it has been imported already it is told so, as torch does for every mode.
    """
    dispatch: Any = inspect.unwrap(WriteCatcher.__torch_dispatch__)
    if "torch._dynamo" in sys.modules:
        vars(dispatch).pop(_NOT_COMPILED, None)
    else:
        setattr(dispatch, _NOT_COMPILED, dispatch)


def is_foreign(path: str) -> bool:
    """Tell whether a file is torch's, of Python's standard library, or vqcheck's."""
    in_standard_library = path.startswith(_PYTHON) and not path.startswith(os.path.join(_PYTHON, "site-packages"))
    return in_standard_library or path.startswith((_TORCH, _OWN, "<frozen"))


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _place(tensor: Tensor) -> tuple[object, ...]:
    """Return the storage, which views share, then what tells them apart."""
    if tensor.layout is not torch.strided:
        return (tensor.layout,)
    return _storage(tensor), tensor.dtype, tensor.shape, tensor.storage_offset(), tensor.stride()


def _written_tensors(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[Tensor]:
    for position, argument in enumerate(func._schema.arguments):  # noqa: SLF001
        if argument.alias_info is None or not argument.alias_info.is_write:
            continue
        yield from _tensors_in(args[position] if position < len(args) else kwargs.get(argument.name))


def _tensors_in(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value] if value.layout == torch.strided else []
    if isinstance(value, Mapping):
        value = list(value.values())
    return [tensor for each in value for tensor in _tensors_in(each)] if isinstance(value, (list, tuple)) else []


def _is_view(func: Any) -> bool:
    """Tell whether an operator only looks at a tensor in another way, as `detach` does."""
    returned = func._schema.returns  # noqa: SLF001 - the only place that says so
    return bool(returned) and all(each.alias_info and not each.alias_info.is_write for each in returned)


def _innermost_line() -> SourceLine:
    """Return the innermost line that is neither torch's nor this file's."""
    return _line_outside(_is_torchs_or_this)


@lru_cache(maxsize=1024)
def _is_torchs_or_this(path: str) -> bool:
    return path == __file__ or path.startswith(_TORCH)


def _write(operator: str) -> Write:
    place = _innermost_line()
    if place.file.startswith(_OWN) and _in_optimizer():
        return Write(operator, "", 0, OPTIMIZER_STEP)
    caller = _line_outside(lambda path: is_foreign(path) or any(each in path for each in _INSTALLED))
    is_same = not caller.file or caller.file == place.file
    return Write(operator, place.file, place.line, place.function, None if is_same else caller)


def _in_optimizer() -> bool:
    """Tell whether one of torch's optimizers runs, inside the innermost line that is not torch's."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the documented way to walk the stack cheaply
    while frame and (frame.f_code.co_filename == __file__ or frame.f_code.co_filename.startswith(_TORCH)):
        if frame.f_code.co_filename.startswith(_OPTIMIZERS):
            return True
        frame = frame.f_back
    return False


def _line_outside(is_passed: Callable[[str], bool]) -> SourceLine:
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the documented way to walk the stack cheaply
    while frame and is_passed(frame.f_code.co_filename):
        frame = frame.f_back
    return (
        SourceLine(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name) if frame else SourceLine("", 0, "")
    )
