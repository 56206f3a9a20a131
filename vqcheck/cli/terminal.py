"""What a terminal can show."""

import os
from typing import TextIO


def can_draw(stream: TextIO) -> bool:
    """Say whether what was written can be drawn anew: into a pipe, or without cursor movement, it cannot."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def wants_color() -> bool:
    """Say whether the user has nothing against colour (https://no-color.org)."""
    return not os.environ.get("NO_COLOR")
