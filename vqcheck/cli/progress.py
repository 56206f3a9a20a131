"""A progress bar on stderr for work that turns out to last longer than half a second."""

import sys
import time
from typing import TYPE_CHECKING, Final

from vqcheck.cli.terminal import can_draw

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_PATIENCE: Final = 0.5


class Waiting:
    """Told of each step that is done; shows a bar once half a second has passed, and never in a pipe."""

    def __init__(self, description: str, *, quiet: bool = False) -> None:
        self._description = description
        # Where nothing can be drawn anew, a bar would leave an empty line where it was taken away.
        self._shown = not quiet and can_draw(sys.stderr)
        self._started = time.monotonic()
        self._bar: tuple[Progress, TaskID] | None = None

    def step(self, done: int, total: int) -> None:
        """Note that `done` of `total` steps are done."""
        if not self._shown or (self._bar is None and time.monotonic() - self._started < _PATIENCE):
            return
        if self._bar is None:
            from rich.console import Console
            from rich.progress import Progress

            bar = Progress(console=Console(stderr=True), transient=True)
            bar.start()
            self._bar = bar, bar.add_task(self._description, total=total)
        progress, task = self._bar
        progress.update(task, completed=done, total=total)

    def __enter__(self) -> "Waiting":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar[0].stop()
