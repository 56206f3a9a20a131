"""Documents to text, JSON and further formats, one file a format. Each escapes what it shows, here or on top of it."""

from typing import Final

from vqcheck.sanitize import sanitize

_JOINERS: Final = "\u200c\u200d"
"""They join letters and emoji, so that a name looks like what its owner wrote; they steer nothing."""


def plain(text: str) -> str:
    """Return the text in one line: control characters, overrides of the direction and lone surrogates are escaped."""
    return sanitize(text, _JOINERS)
