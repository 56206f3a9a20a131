"""The view of a replay while it runs: progress, and how commit_loss and drift went so far, arm by arm."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from vqcheck.replay.trace import NOT_REPORTED, OFF, StepTrace
from vqcheck.report.text.sparkline import bars_for, sparkline

_REFRESH = 0.1
_FIXED = 30
"""Columns of a line beside its two sparklines."""


@dataclass
class _Line:
    strategy: str
    steps: int = 0
    commit_loss: list[float] = field(default_factory=list)
    drift: list[float] = field(default_factory=list)
    state: str = ""
    moved: bool = False


class LiveView:
    """An observer that draws on a terminal, and clears what it drew when it is done."""

    def __init__(self, stream: TextIO, strategies: Sequence[str], steps: int, *, color: bool = True) -> None:
        self._console = Console(file=stream, no_color=not color, highlight=False, legacy_windows=False)
        self._bars = bars_for(getattr(stream, "encoding", None))
        self._lines = {strategy: _Line(strategy) for strategy in strategies}
        self._steps = steps
        self._live = Live(console=self._console, transient=True, auto_refresh=False)
        self._drawn = 0.0

    def __enter__(self) -> "LiveView":
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def arm(self, strategy: str) -> None:
        """Note that an arm begins."""
        self._lines.setdefault(strategy, _Line(strategy))
        self._draw()

    def step(self, strategy: str, step: StepTrace) -> None:
        """Note a finished step."""
        line = self._lines[strategy]
        line.steps = step.step
        line.state = step.commit_loss_state
        line.moved = line.moved or any(tensor.changed for tensor in step.tensors)
        for values, value in ((line.commit_loss, step.commit_loss), (line.drift, step.drift)):
            values.append(value)
            del values[:-200]  # what fits on a line
        if time.monotonic() - self._drawn > _REFRESH:
            self._draw()

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        self._live.update(Text("\n").join(self.lines(self._console.width)), refresh=True)

    def lines(self, columns: int) -> list[Text]:
        """Return a heading and one line for each arm."""
        name = max(len(strategy) for strategy in self._lines)
        steps = len(str(self._steps))
        width = max(4, min(40, (columns - _FIXED - name - 2 * steps) // 2))
        heading = f"{'':<{name + 2 * steps + 2}} {'commit_loss':<{width + 10}} drift"
        return [
            Text(heading, style="dim", no_wrap=True, overflow="crop"),
            *(self._line(line, name, steps, width) for line in self._lines.values()),
        ]

    def _line(self, line: _Line, name: int, steps: int, width: int) -> Text:
        text = Text(f"{line.strategy:<{name}} {line.steps:>{steps}}/{self._steps} ", no_wrap=True, overflow="crop")
        if not line.steps:
            return text.append("waiting", style="dim")
        loss, drift = line.commit_loss[-width:], line.drift[-width:]
        text.append(f"{sparkline(loss, width, low=0.0, bars=self._bars):<{width}}", style="cyan")
        shown = "  -  " if line.state == NOT_REPORTED else f"{loss[-1]:.3f}"
        text.append(f" {shown}{' off' if line.state == OFF else '    '} ")
        text.append(f"{sparkline(drift, width, low=0.0, bars=self._bars):<{width}}", style="magenta")
        style = "bold red" if line.moved else "green"
        return text.append(f" {drift[-1]:<7.3g} ").append("drifted" if line.moved else "still", style=style)
