"""A replay while it runs: drawn again and again on a terminal, or a line now and then elsewhere."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.text import Text

from vqcheck.language import can_show, localized, tr, trn
from vqcheck.replay.trace import CommitLossState, Plan, StepTrace
from vqcheck.report.render.sparkline import bars_for, sparkline
from vqcheck.report.views.words import number

_REFRESH = 0.1
_LEAST = 4
"""Columns below which a sparkline shows nothing, and is left out."""
_LOSS = 12
_DRIFT = 11
_VERDICT = 7
"""Columns of the figures and of the word behind them, with the blanks between."""


_SELDOM = 10.0
"""Seconds between two lines where nothing can be drawn again."""
_GIB = 2**30


def what_it_takes(plan: Plan) -> str:
    """Return how much there is to do, in words."""
    arms = trn(
        "{number} arm of {steps} steps", "{number} arms of {steps} steps", len(plan.strategies), steps=plan.steps
    )
    if plan.memory is None:
        return arms
    memory = f"{plan.memory / _GIB:.1f} GiB" if plan.memory > _GIB / 2 else f"{plan.memory * 1024 / _GIB:.0f} MiB"
    return tr("{arms}; weights, gradients and optimizers take {memory}, activations more", arms=arms, memory=memory)


class Pace:
    """Measures how long a step takes, and what is left of all of them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._total = self.done = 0

    def begin(self, plan: Plan) -> None:
        self._started, self._total = self._clock(), plan.steps * len(plan.strategies)

    def words(self) -> str:
        """Return the seconds a step and the time that is left; empty before a second step is done."""
        if self.done < 2:  # the first one is slow
            return ""
        each = (self._clock() - self._started) / self.done
        left = max(self._total - self.done, 0) * each
        return tr("{seconds:.2g} s a step, about {duration} left", seconds=each, duration=_duration(left))


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else tr("{minutes:.0f} min", minutes=seconds / 60)


class ProgressLines:
    """An observer that writes a line at the start, once a step was measured, for each arm, and now and then."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream, clock
        self._pace = Pace(clock)
        self._told = clock()
        self._plan = Plan((), 0, None)

    def begin(self, plan: Plan) -> None:
        """Say what it will take."""
        self._plan = plan
        self._pace.begin(plan)
        self._tell(what_it_takes(plan))

    def arm(self, strategy: str) -> None:
        """Say which arm begins, and how long the others took."""
        words = self._pace.words()
        self._tell(tr("{name}: {text}", name=strategy, text=words) if words else strategy)

    def step(self, strategy: str, step: StepTrace) -> None:
        """Note a finished step."""
        self._pace.done += 1
        if self._pace.done == 2 or self._clock() - self._told > _SELDOM:
            self._tell(
                tr(
                    "{strategy}: step {step} of {steps}, {pace}",
                    strategy=strategy,
                    step=step.step,
                    steps=self._plan.steps,
                    pace=self._pace.words(),
                )
            )

    def _tell(self, words: str) -> None:
        self._told = self._clock()
        self._stream.write(_shown(tr("replay: {text}", text=words), self._stream) + "\n")
        self._stream.flush()


def _shown(text: str, stream: TextIO) -> str:
    """Return a text in the language that people read, if the stream can show it."""
    return localized(text) if can_show(getattr(stream, "encoding", None) or "utf-8") else text


def _padded(text: str, width: int) -> str:
    """Return a text with blanks up to a width in columns, of which a Chinese character takes two."""
    return text + " " * (width - cell_len(text))


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
        self._stream = stream
        self._console = Console(file=stream, no_color=not color, highlight=False, legacy_windows=False)
        self._bars = bars_for(getattr(stream, "encoding", None))
        self._lines = {strategy: _Line(strategy) for strategy in strategies}
        self._steps = steps
        self._live = Live(console=self._console, transient=True, auto_refresh=False)
        self._drawn = 0.0
        self._pace = Pace()

    def __enter__(self) -> "LiveView":
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def begin(self, plan: Plan) -> None:
        """Say what it will take, above what is drawn."""
        self._pace.begin(plan)
        self._console.print(_shown(what_it_takes(plan), self._stream))

    def arm(self, strategy: str) -> None:
        """Note that an arm begins."""
        self._lines.setdefault(strategy, _Line(strategy))
        self._draw()

    def step(self, strategy: str, step: StepTrace) -> None:
        """Note a finished step."""
        self._pace.done += 1
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
        """Return a heading and one line for each arm; what does not fit is left out, the verdict last."""
        name = max(len(strategy) for strategy in self._lines)
        fixed = name + 2 * len(str(self._steps)) + 3 + _VERDICT
        figures = columns - fixed >= _LOSS + _DRIFT
        bars = min(40, (columns - fixed - _LOSS - _DRIFT) // 2 - 1)
        bars = 0 if bars < _LEAST else bars
        heading = " " * (fixed - _VERDICT)
        if figures:
            heading += f"{'commit_loss':<{(bars + 1) * (bars > 0) + _LOSS}}{_shown(tr('drift'), self._stream)}"
        return [
            Text(heading, style="dim", no_wrap=True, overflow="crop"),
            *(self._line(line, name, bars, figures=figures) for line in self._lines.values()),
            Text(_shown(self._pace.words(), self._stream), style="dim", no_wrap=True, overflow="crop"),
        ]

    def _line(self, line: _Line, name: int, bars: int, *, figures: bool) -> Text:
        done = f"{line.steps:>{len(str(self._steps))}}/{self._steps}"
        text = Text(f"{line.strategy:<{name}} {done} ", no_wrap=True, overflow="crop")
        if not line.steps:
            return text.append(_shown(tr("waiting"), self._stream), style="dim")
        if figures:
            loss = "-" if line.state == CommitLossState.NOT_REPORTED else number(line.commit_loss[-1])
            loss = tr("{loss} off", loss=loss) if line.state == CommitLossState.OFF else loss
            for values, figure, width, style in (
                (line.commit_loss, loss, _LOSS, "cyan"),
                (line.drift, number(line.drift[-1]), _DRIFT, "magenta"),
            ):
                if bars:
                    shown = sparkline(values[-bars:], bars, low=0.0, bars=self._bars)
                    text.append(f"{shown:<{bars}} ", style=style)
                text.append(_padded(_shown(figure, self._stream), width))
        said = tr("drifted") if line.moved else tr("still")
        return text.append(_shown(said, self._stream), style="bold red" if line.moved else "green")
