"""What a terminal can show, which process speaks, and a progress bar for work that lasts."""

import os
import sys
import time
from typing import TYPE_CHECKING, Final, TextIO

from vqcheck.language import can_show, localized, tr
from vqcheck.sanitize import sanitize, without_credentials

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_SIZES: Final = ("COLUMNS", "LINES", "JUPYTER_COLUMNS", "JUPYTER_LINES")
_LARGEST: Final = 10_000
_PATIENCE: Final = 0.5
_BETWEEN_LINES: Final = 10.0
"""Seconds between two lines on progress where no bar can be drawn."""


def forget_impossible_sizes() -> None:
    """Drop what the environment says of a terminal's size where no terminal has it: libraries would stumble over it."""
    for name in _SIZES:
        said = os.environ.get(name)
        if said is not None and not (
            said.isascii() and said.isdecimal() and len(said) < 9 and 0 < int(said) <= _LARGEST
        ):
            del os.environ[name]


def can_draw(stream: TextIO) -> bool:
    """Say whether what was written can be drawn again: into a pipe, or without cursor movement, it cannot."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def wants_color() -> bool:
    """Say whether the user has nothing against colour (https://no-color.org)."""
    return not os.environ.get("NO_COLOR")


def is_first_process() -> bool:
    """Say whether this process is the one that reports, under torchrun or alone."""
    return os.environ.get("RANK", "0") == "0"


def say(text: str) -> None:
    """Write what goes wrong, or how work goes on, to stderr, behind the name of the program."""
    tell(tr("vqcheck: {message}", message=text))


def tell(text: str) -> None:
    """Write a line for people to stderr, in their language and without logins that somebody typed."""
    stream = sys.stderr
    line = localized(text) if can_show(getattr(stream, "encoding", None) or "utf-8") else text
    print(without_credentials(sanitize(" ".join(line.splitlines()))), file=stream, flush=True)


class Waiting:
    """Hears of each step that is done; shows a bar once half a second has passed, in a pipe a line now and then."""

    _drawn = False
    """Whether a bar is on the screen, which has room for one."""

    def __init__(self, description: str, *, quiet: bool = False) -> None:
        self._description = description
        self._quiet = quiet
        # Where nothing can be drawn again, a bar would leave an empty line where it was taken away.
        self._can_draw = can_draw(sys.stderr)
        self._started = self._told = time.monotonic()
        self._bar: tuple[Progress, TaskID] | None = None

    def step(self, done: int, total: int) -> None:
        """Note that `done` of `total` steps are done."""
        if self._quiet:
            return
        if not self._can_draw:
            self._tell(done, total)
            return
        if self._bar is None and (Waiting._drawn or time.monotonic() - self._started < _PATIENCE):
            return
        if self._bar is None:
            Waiting._drawn = True
            from rich.console import Console
            from rich.progress import Progress

            bar = Progress(console=Console(stderr=True), transient=True)
            bar.start()
            self._bar = bar, bar.add_task(localized(self._description), total=total)
        progress, task = self._bar
        progress.update(task, completed=done, total=total)

    def _tell(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._told >= _BETWEEN_LINES and done < total:
            self._told = now
            say(tr("{work}: {done} of {total}", work=self._description, done=done, total=total))

    def __enter__(self) -> "Waiting":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar[0].stop()
            self._bar, Waiting._drawn = None, False
