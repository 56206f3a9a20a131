"""Words that say of a copy in a checkpoint, or in a live module, that it is not the model in use."""

from collections.abc import Iterable
from typing import Final

SECOND_HAND: Final = frozenset(
    {"ema", "teacher", "best", "average", "averaged", "avg", "swa", "shadow", "target", "momentum"}
)
"""Words in the name of a copy that is not the model in use: an average of it, or the model of another time."""


def second_hand(components: Iterable[str]) -> frozenset[str]:
    """Return which words in the components of a name say that what it names is not the model in use."""
    return SECOND_HAND.intersection(word for component in components for word in component.lower().split("_"))
