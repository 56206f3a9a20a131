"""An error that a user's own code raised, in one line that points into that code."""

import os
import traceback
from typing import Final

import torch

_TORCH: Final = os.path.dirname(torch.__file__) + os.sep
_PYTHON: Final = os.path.dirname(os.__file__) + os.sep
_OWN: Final = os.path.dirname(os.path.dirname(__file__)) + os.sep


def in_one_line(error: BaseException) -> str:
    """Return type, text and place of an error: the innermost line that is neither torch's, Python's nor vqcheck's."""
    text = " ".join(str(error).split())
    shown = f"{type(error).__name__}: {text}" if text else type(error).__name__
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not is_foreign(frame.filename):
            return f"{shown} ({frame.filename}:{frame.lineno} in {frame.name})"
    return shown


def is_foreign(path: str) -> bool:
    """Tell whether a file is torch's, of Python's standard library, or vqcheck's."""
    in_standard_library = path.startswith(_PYTHON) and not path.startswith(os.path.join(_PYTHON, "site-packages"))
    return in_standard_library or path.startswith((_TORCH, _OWN, "<frozen"))
