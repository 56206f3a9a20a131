"""Checks of arguments, so that a wrong batch ends in a sentence and not in a failure ten layers further down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vqcheck.synthesizer.errors import InputError, StateDictMismatchError

_SHOWN = 3


def paired(*several: Iterable[Any]) -> list[tuple[Any, ...]]:
    """Return what `zip(strict=True)` does, which Python 3.9 does not have: a checkout's own Python may be that old."""
    lists = [tuple(each) for each in several]
    if len({len(each) for each in lists}) > 1:
        raise InputError(f"expected as many of each, given {', '.join(str(len(each)) for each in lists)}")
    return list(zip(*lists))  # noqa: B905


def check_shape(name: str, tensor: Tensor, *expected: int | str) -> None:
    """Raise InputError unless `tensor` has the expected shape; a string stands for an axis of any size."""
    given = tuple(tensor.shape)
    fits = len(given) == len(expected) and all(
        isinstance(want, str) or want == got
        for want, got in zip(expected, given)  # noqa: B905 - of one length
    )
    if not fits:
        raise InputError(f"{name}: expected shape {_brackets(expected)}, given {_brackets(given)}")


def check_integers(name: str, tensor: Tensor) -> None:
    """Raise InputError unless `tensor` holds integers (ids or lengths)."""
    if tensor.dtype not in (torch.int64, torch.int32):
        raise InputError(f"{name}: expected int64 or int32, given {tensor.dtype} of shape {_brackets(tensor.shape)}")


def check_range(name: str, tensor: Tensor, low: int, high: int, why: str) -> None:
    """Raise InputError unless every value is in low..high.  Reads the values: on a GPU the host waits for them."""
    if tensor.numel() == 0:
        return
    smallest, largest = (int(bound) for bound in torch.aminmax(tensor))
    if smallest < low or largest > high:
        raise InputError(
            f"{name}: expected values in {low}..{high} ({why}), "
            f"given {smallest}..{largest} in shape {_brackets(tensor.shape)}"
        )


def check_state_dict(module: nn.Module, state_dict: Mapping[str, Any], strict: bool, built_as: str) -> None:
    """Raise StateDictMismatchError where a tensor's shape differs or, with `strict`, its name is on one side only."""
    own = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    given = {name: tuple(value.shape) for name, value in state_dict.items() if isinstance(value, Tensor)}
    lines = [
        f"{name}: expected shape {_brackets(own[name])}, given {_brackets(given[name])}"
        for name in own
        if name in given and own[name] != given[name]
    ]
    if strict:
        unknown = [name for name in state_dict if name not in own]
        missing = [name for name in own if name not in given]
        lines += [f"{name}: expected nothing, given {_described(state_dict[name])}" for name in unknown]
        lines += [f"{name}: expected shape {_brackets(own[name])}, given nothing" for name in missing]
    if lines:
        more = f"; and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
        raise StateDictMismatchError(
            f"state_dict does not fit {type(module).__name__} built as {built_as}: {'; '.join(lines[:_SHOWN])}{more}"
        )


def _described(value: Any) -> str:
    return f"shape {_brackets(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _brackets(shape: Sequence[int | str]) -> str:
    return "[" + ", ".join(str(size) for size in shape) + "]"


VERSIONS = ("v1", "v2", "v2Pro", "v2ProPlus")
_PRO = ("v2Pro", "v2ProPlus")

_SYMBOLS_V1 = 322
_SYMBOLS = 732
_REFERENCE_BINS = 704


def check_version(version: str) -> None:
    """Raise InputError for a version that this package does not have."""
    if version not in VERSIONS:
        raise InputError(f"version: expected one of {', '.join(VERSIONS)}, given {version!r}")


def is_pro(version: str) -> bool:
    """Tell whether the version takes a speaker-verification vector beside the reference."""
    return version in _PRO


def symbol_count(version: str) -> int:
    """Return the size of the version's phoneme table."""
    return _SYMBOLS_V1 if version == "v1" else _SYMBOLS


def reference_bins(version: str, spec_channels: int) -> int:
    """Return how many of the spectrogram's lowest bins the reference encoder sees."""
    return spec_channels if version == "v1" else _REFERENCE_BINS
