"""Checks of arguments, so that a wrong batch ends in a sentence and not in a failure ten layers further down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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


def frames_per_code(semantic_frame_rate: str) -> int:
    """Return how many frames of 20 ms a code stands for; InputError for a frame rate that upstream does not have."""
    if semantic_frame_rate not in ("25hz", "50hz"):
        raise InputError(f"semantic_frame_rate: expected 25hz or 50hz, given {semantic_frame_rate!r}")
    return 2 if semantic_frame_rate == "25hz" else 1


def is_pro(version: str) -> bool:
    """Tell whether the version takes a speaker-verification vector beside the reference."""
    return version in _PRO


def symbol_count(version: str) -> int:
    """Return the size of the version's phoneme table."""
    return _SYMBOLS_V1 if version == "v1" else _SYMBOLS


def reference_bins(version: str, spec_channels: int) -> int:
    """Return how many of the spectrogram's lowest bins the reference encoder sees."""
    return spec_channels if version == "v1" else _REFERENCE_BINS


@dataclass
class InputChecks:
    """The sizes that a model was built with; each method raises InputError for inputs that do not fit them.

    Shapes cost nothing and are checked at each call.  Values are checked wherever reading them costs nothing, on the
    CPU; on a GPU the host would have to wait for the device in each training step, so there only the first batch is
    read, which finds what is wrong throughout (the symbols of another version, lengths in samples).
    """

    spec_channels: int
    segment_size: int
    ssl_dim: int
    frames_per_code: int
    n_symbols: int
    codebook_size: int
    sv_dim: int | None
    mel_channels: int = 0
    """Of a model that samples mel; 0 for others."""
    _devices_read: set[str] = field(default_factory=set)

    def features(self, ssl: Tensor) -> None:
        """Check ssl `[B, ssl_dim, T]`."""
        check_shape("ssl", ssl, "B", self.ssl_dim, "T")
        if ssl.size(2) < self.frames_per_code:
            raise InputError(f"ssl: expected at least {self.frames_per_code} frames, given shape {list(ssl.shape)}")

    def batch(
        self,
        ssl: Tensor,
        y: Tensor,
        y_lengths: Tensor,
        text: Tensor,
        text_lengths: Tensor,
        sv_emb: Tensor | None,
        training: bool = True,
    ) -> None:
        """Check the inputs of `forward`, or those of `infer` with `training` False."""
        self.features(ssl)
        batch, frames = ssl.size(0), y.size(-1)
        check_shape("y", y, batch, self.spec_channels, "T")
        check_shape("y_lengths", y_lengths, batch)
        check_shape("text", text, batch, "L")
        check_shape("text_lengths", text_lengths, batch)
        for name, tensor in (("y_lengths", y_lengths), ("text", text), ("text_lengths", text_lengths)):
            check_integers(name, tensor)
        if self.sv_dim is not None:
            self._speaker_vector(sv_emb, batch)
        quantized = ssl.size(2) // self.frames_per_code * self.frames_per_code
        if training and quantized != frames:  # elsewhere y is only a reference, of any length
            raise InputError(
                f"y: expected {quantized} frames (those of ssl {list(ssl.shape)} after quantization, "
                f"a multiple of {self.frames_per_code}), given {frames} in shape {list(y.shape)}"
            )
        if not self._should_read(text):
            return
        if training:
            why = f"at least segment_size, at most the frames of y {list(y.shape)}"
            check_range("y_lengths", y_lengths, self.segment_size, frames, why)
        else:
            check_range("y_lengths", y_lengths, 1, frames, f"at most the frames of y {list(y.shape)}")
        check_range("text_lengths", text_lengths, 1, text.size(1), f"at most the length of text {list(text.shape)}")
        self._symbols(text)

    def mel_batch(
        self,
        ssl: Tensor,
        y: Tensor,
        y_lengths: Tensor,
        text: Tensor,
        text_lengths: Tensor,
        mel: Tensor,
        mel_lengths: Tensor,
    ) -> None:
        """Check the inputs of `forward` of a model that samples mel."""
        self.features(ssl)
        batch = ssl.size(0)
        check_shape("y", y, batch, self.spec_channels, "T")
        check_shape("mel", mel, batch, self.mel_channels, "M")
        check_shape("text", text, batch, "L")
        for name, lengths in (("y_lengths", y_lengths), ("text_lengths", text_lengths), ("mel_lengths", mel_lengths)):
            check_shape(name, lengths, batch)
            check_integers(name, lengths)
        check_integers("text", text)
        if self._should_read(text):
            check_range("y_lengths", y_lengths, 1, y.size(2), f"at most the frames of y {list(y.shape)}")
            check_range("mel_lengths", mel_lengths, 1, mel.size(2), f"at most the frames of mel {list(mel.shape)}")
            check_range("text_lengths", text_lengths, 1, text.size(1), f"at most the length of text {list(text.shape)}")
            self._symbols(text)

    def tokens(
        self,
        codes: Tensor,
        text: Tensor,
        references: Sequence[Tensor],
        vectors: Sequence[Tensor | None],
        speed: float,
    ) -> None:
        """Check the inputs of `decode`."""
        check_shape("codes", codes, 1, 1, "T")
        check_shape("text", text, 1, "L")
        check_integers("codes", codes)
        check_integers("text", text)
        if not references:
            raise InputError("refer: expected at least one spectrogram, given an empty list")
        for reference in references:
            check_shape("refer", reference, 1, self.spec_channels, "R")
        if len(vectors) != len(references):
            raise InputError(f"sv_emb: expected {len(references)}, one for each refer, given {len(vectors)}")
        if self.sv_dim is not None:
            for vector in vectors:
                self._speaker_vector(vector, 1)
        if speed <= 0:
            raise InputError(f"speed: expected a number above 0, given {speed}")
        check_range("codes", codes, 0, self.codebook_size - 1, "the codebook")
        self._symbols(text)

    def _should_read(self, tensor: Tensor) -> bool:
        device = str(tensor.device)
        if tensor.device.type != "cpu":
            if device in self._devices_read:
                return False
            self._devices_read.add(device)
        return True

    def _speaker_vector(self, sv_emb: Tensor | None, batch: int) -> None:
        assert self.sv_dim is not None
        if sv_emb is None:
            raise InputError(f"sv_emb: expected shape [{batch}, {self.sv_dim}] for a Pro version, given None")
        check_shape("sv_emb", sv_emb, batch, self.sv_dim)

    def _symbols(self, text: Tensor) -> None:
        check_range("text", text, 0, self.n_symbols - 1, "the phoneme table; another version has another one")
