"""The rule by which a codebook counts as collapsed, the same for stored counts and for what a live model uses."""

from __future__ import annotations

from typing import Final

_LEAST_SHARE: Final = 0.1
_LEAST_PERPLEXITY: Final = 0.05


def is_collapsed(codes: int, used: float, perplexity: float) -> bool:
    """Say whether one table of `codes` codes, of which `used` are in use, is collapsed; `health` says why so."""
    few = used == 1 or used < _LEAST_SHARE * codes
    return codes > 1 and (few or perplexity < _LEAST_PERPLEXITY * codes)
