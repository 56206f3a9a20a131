"""Text from an untrusted file or a caller, in one printable line: it must not break the line or steer a terminal."""

from typing import Final

_LONGEST_NAME: Final = 200


def sanitize(text: str, keep: str = "") -> str:
    """Return the text with each character escaped that is not printable and not in `keep`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep else ascii(char)[1:-1] for char in text)


def sanitize_name(name: str) -> str:
    """Return the beginning of a name that stands in a checkpoint, sanitized."""
    return sanitize(name) if len(name) <= _LONGEST_NAME else f"{sanitize(name[:_LONGEST_NAME])}..."
