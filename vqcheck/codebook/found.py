"""What matching finds: named tensors with the parts they play, and the VQ encoders they make up."""

from typing import Final, NamedTuple

from vqcheck.checkpoint.second_hand import second_hand
from vqcheck.codebook.canonical import MisshapenError
from vqcheck.codebook.family import ROLES, Family

SHADOWS: Final = frozenset({"ema_model", "model_ema", "ema"})
"""Wrappers around a moving average of the whole model: another codebook than the one in use."""

_PARTS: Final = ("", "weight", "g", "v", "bias")

Shape = tuple[int, ...]


class Found(NamedTuple):
    """A named tensor and the part it plays in a VQ encoder."""

    name: str
    role: str
    part: str
    book: int
    group: int
    layer: int
    shape: Shape
    """Canonical shape, see `canonical`."""
    axes: Shape
    """Which stored axis each axis of the canonical shape is, where that is not the order in the file."""
    token_relevant: bool
    """Whether a lookup depends on it, see `token_relevant`."""

    @property
    def order(self) -> tuple[int, int, int, int, int, str]:
        """Where the tensor comes in listings and digests."""
        rank = _PARTS.index(self.part) if self.part in _PARTS else len(_PARTS)
        return self.book, self.group, self.layer, ROLES.index(self.role), rank, self.part


class Match(NamedTuple):
    """The tensors of one VQ encoder, in order."""

    family: Family
    prefix: str
    """What stands in front of every name; empty when there is nothing."""
    books: tuple[str, ...]
    """Names of the quantizers; those of the row, or what stands in front where the model has several."""
    found: tuple[Found, ...]

    @property
    def is_shadow(self) -> bool:
        return not SHADOWS.isdisjoint(self.prefix.split("."))

    @property
    def is_second_hand(self) -> bool:
        return bool(second_hand(self.prefix.split(".")))


class Matches(NamedTuple):
    """Every VQ encoder among some named tensors."""

    sound: tuple[Match, ...]
    """The one to judge first."""
    misshapen: tuple[MisshapenError, ...]
    """What is wrong with others, under whose names tensors of impossible shapes stand."""
