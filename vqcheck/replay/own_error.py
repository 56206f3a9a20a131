"""An error that a user's own code raised, in one line that points into that code."""

import traceback

from vqcheck.live.first_write import is_foreign


def in_one_line(error: BaseException) -> str:
    """Return type, text and place of an error: the innermost line that is neither torch's, Python's nor vqcheck's."""
    text = " ".join(str(error).split())
    shown = f"{type(error).__name__}: {text}" if text else type(error).__name__
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not is_foreign(frame.filename):
            return f"{shown} ({frame.filename}:{frame.lineno} in {frame.name})"
    return shown
