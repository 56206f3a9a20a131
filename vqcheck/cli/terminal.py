"""What a terminal can show."""

import os
from typing import Final, TextIO

_SIZES: Final = ("COLUMNS", "LINES", "JUPYTER_COLUMNS", "JUPYTER_LINES")
_LARGEST: Final = 10_000


def forget_impossible_sizes() -> None:
    """Drop what the environment says of a terminal's size where no terminal has it: libraries would stumble over it."""
    for name in _SIZES:
        said = os.environ.get(name)
        if said is not None and not (
            said.isascii() and said.isdecimal() and len(said) < 9 and 0 < int(said) <= _LARGEST
        ):
            del os.environ[name]


def can_draw(stream: TextIO) -> bool:
    """Say whether what was written can be drawn anew: into a pipe, or without cursor movement, it cannot."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def wants_color() -> bool:
    """Say whether the user has nothing against colour (https://no-color.org)."""
    return not os.environ.get("NO_COLOR")
