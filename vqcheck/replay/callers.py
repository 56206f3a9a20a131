"""Where a user's own code called what wrote the codebook: the write itself is often a line of a library."""

import sys
from collections.abc import Mapping
from types import FrameType

from torch import Tensor

from vqcheck.replay.own_error import is_foreign
from vqcheck.replay.watch import Watch
from vqcheck.runtime.finding import Write

_INSTALLED = ("site-packages", "dist-packages")


class CallerWatch:
    """A watch that also notes, at each write that changed bits, the innermost line that is not an installed package's.

    `callers` are these lines by label, for the first write to each.
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self.callers: dict[str, Write] = {}

    def tensors(self) -> Mapping[str, Tensor]:
        """Return the tensors as they stand now."""
        return self._watch.tensors()

    def written(self, labels: list[str]) -> list[str]:
        """Return those of `labels` whose bits changed since the last look at them, and take new copies of these."""
        changed = self._watch.written(labels)
        for label in changed:
            self.callers.setdefault(label, _own_line())
        return changed


def _own_line() -> Write:
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the documented way to walk the stack cheaply
    while frame and _is_installed(frame.f_code.co_filename):
        frame = frame.f_back
    if frame is None:
        return Write("call", "", 0, "")
    return Write("call", frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)


def _is_installed(path: str) -> bool:
    return is_foreign(path) or any(each in path for each in _INSTALLED)
