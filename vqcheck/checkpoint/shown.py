"""Text that others wrote, as it may stand in a message: it must not break the line or steer the terminal."""

from typing import Final

_LONGEST: Final = 200


def one_line(text: str) -> str:
    """Return the text with everything that is no printable character escaped."""
    return text if text.isprintable() else ascii(text)[1:-1]


def shown(text: str) -> str:
    """Return the beginning of a name found in a checkpoint, in one printable line."""
    return one_line(text) if len(text) <= _LONGEST else one_line(text[:_LONGEST]) + "..."
