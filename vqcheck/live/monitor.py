"""Measures how a live model uses its codebooks: `vqcheck.monitor(net_g)`, and `step()` after each training step.

    use = vqcheck.monitor(net_g, sinks=[SummaryWriter(logs), "use.csv"], on_collapse="warn")
    for batch in loader:
        train_on(batch)
        use.step()

Hooks on the quantizer's own forward count the codes that come out of it, on the device and without waiting for it;
every `every` steps the host reads: share of codes used, perplexity, dead codes, quantisation error, and how far the
codes moved since the start.  For Weights & Biases give `lambda record: wandb.log(record.scalars(), step=record.step)`.

Frames are counted while the model is in train mode, so validation does not count.  Codes are seen where a quantizer's
forward returns them.  Where none does (methods called instead of forward, forward compiled as a whole) use and error
are None, a warning says so, and movement is measured all the same.

With several processes (torch.distributed) each counts its own frames, and a read compares their VQ encoders: every
process must make a monitor and call `step()` equally often, or each measures by itself alone (`ranks="own"`).

`state_dict()` and `load_state_dict()` carry the count of steps over a resume.  Movement then starts anew.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Literal, Union

import torch
from torch import Tensor, nn

from vqcheck.errors import CodebookCollapsed, UsageError
from vqcheck.language import tr
from vqcheck.live.book_counts import BookCounts
from vqcheck.live.encoder import LiveTensor, find
from vqcheck.live.freeze import modules_to_hold
from vqcheck.live.guard import steps_of
from vqcheck.live.monitor_record import ONLY, Figures, MonitorRecord, Sink, record_table, sender
from vqcheck.live.ranks import Ranks, compare_ranks, require_ranks, several_ranks
from vqcheck.live.watch import EncoderWatch

DEFAULT_EVERY: Final = 20

OnCollapse = Union[Literal["ignore", "warn", "raise"], Callable[[CodebookCollapsed], object]]  # noqa: UP007


def monitor(
    module: nn.Module,
    every: int = DEFAULT_EVERY,
    sinks: Sequence[Sink] = (),
    on_collapse: OnCollapse = "ignore",
    ranks: Ranks = "compare",
) -> Monitor:
    """Measure the use of a model's codebooks from now on.

    `every` is the number of steps between two reads. Each read goes to the `sinks`: a TensorBoard SummaryWriter, the
    path of a .csv or .jsonl file, or a callable that gets the MonitorRecord. `on_collapse` says what happens at each
    read that finds a codebook collapsed (under a tenth of its codes used, or a perplexity under a twentieth):
    "ignore", "warn" with a RuntimeWarning, "raise" a CodebookCollapsed, or a callable that gets it. With
    `ranks="compare"` a read of one of several processes asks the others whether their VQ encoders are the same.

    Raises:
        NoCodebookError: no VQ encoder is known under the module's names.
        UsageError: it has no codes to measure, is sharded or on the meta device; or a request that makes no sense.

    """
    return Monitor(module, every, sinks, on_collapse, ranks)


class Monitor:
    """What `monitor` returns: a context manager, or a plain object with `step()` and `read()`."""

    def __init__(
        self,
        module: nn.Module,
        every: int = DEFAULT_EVERY,
        sinks: Sequence[Sink] = (),
        on_collapse: OnCollapse = "ignore",
        ranks: Ranks = "compare",
    ) -> None:
        if not isinstance(every, int) or every < 1:
            raise UsageError(f"every: expected a number of steps, 1 or more, given {every!r}")
        if on_collapse not in ("ignore", "warn", "raise") and not callable(on_collapse):
            raise UsageError(f"on_collapse: expected 'ignore', 'warn', 'raise' or a callable, given {on_collapse!r}")
        require_ranks(ranks)
        self._senders = [sender(sink) for sink in sinks]
        encoder = find(module)
        encoder.require_whole()
        self.steps: int = 0
        """How often `step()` was called, before a resume included."""
        self.records: list[MonitorRecord] = []
        self._every = every
        self._on_collapse = on_collapse
        self._ranks = ranks
        self._watch = EncoderWatch(encoder)
        self._tensors = [each for each in encoder.tensors if each.holds_codes]
        if not self._tensors:
            raise UsageError(
                tr("{module}: its codes are a fixed grid, of which nothing is stored", module=type(module).__name__)
            )
        if any(self._watch.start[each.name].is_meta for each in self._tensors):
            raise UsageError(tr("{module}: is on the meta device and has no values yet", module=type(module).__name__))
        tops, names = modules_to_hold(encoder), [each.name for each in self._tensors]
        self._books = [BookCounts(module, each, _places(each.name, tops, names)) for each in self._tensors]
        self._warned: set[str] = set()

    def step(self) -> None:
        """Count a training step; at every `every`-th call read.

        Raises:
            CodebookCollapsed: with on_collapse="raise", at a read that finds a collapse.

        """
        self.steps += 1
        if self.steps % self._every == 0:
            self.read()

    def read(self) -> MonitorRecord:
        """Wait for the device, send what was measured since the last read to the sinks, and return it."""
        moved = {each.name: step for each, step in zip(self._watch.encoder.tensors, self._watch.look())}  # noqa: B905
        figures = _to_host([book.figures() for book in self._books])
        record = MonitorRecord(
            self.steps,
            tuple(
                book.use(ONLY if len(self._books) == 1 else _name(each, self._tensors), row, moved[each.name])
                for each, book, row in zip(self._tensors, self._books, figures)  # noqa: B905 - Python 3.9
            ),
            self._other_ranks(),
        )
        self.records.append(record)
        if self.steps and not any(book.is_seen for book in self._books):
            self._warn_once("no forward of a quantizer returned codes, so use and error are not measured; movement is")
        if record.other_ranks:
            others = ", ".join(map(str, record.other_ranks))
            self._warn_once(f"the VQ encoder is not the same in all processes: that of rank 0 is not that of {others}")
        for send in self._senders:
            send(record)
        if record.collapsed:
            self._collapsed(record)
        return record

    def state_dict(self) -> dict[str, int]:
        """Return how many steps were counted; needs no other process."""
        return {"steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on counting where a checkpoint's monitor was; call it before the first step.

        Raises:
            UsageError: this is no state of a monitor.

        """
        self.steps = steps_of(state)

    def figures(self) -> Figures:
        """Return the course of all figures; a notebook shows them as curves."""
        return Figures(tuple(self.records))

    def remove(self) -> None:
        """Take the hooks away, and give back the memory of the copies."""
        for book in self._books:
            book.remove()
        self._books, self._tensors = [], []
        self._watch.let_go()

    def __repr__(self) -> str:
        last = f"; {self.records[-1]}" if self.records else ""
        return f"<monitor after {self.steps} steps{last}>"

    def _repr_html_(self) -> str:
        return record_table(f"monitor after {self.steps} steps", self.records[-1] if self.records else None)

    def __enter__(self) -> Monitor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None and self.steps % self._every:
                self.read()
        finally:
            self.remove()

    def _other_ranks(self) -> tuple[int, ...]:
        """Return the processes whose VQ encoder is not that of rank 0; the same in all of them."""
        if self._ranks == "own" or not several_ranks():
            return ()
        now = self._watch.encoder.now()
        names = [each.name for each in self._watch.encoder.tensors]
        across = compare_ranks({}, now, names, self.steps)
        return tuple(sorted({rank for ranks in across.ranks.values() for rank in ranks}))

    def _warn_once(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            warnings.warn(text, RuntimeWarning, stacklevel=4)

    def _collapsed(self, record: MonitorRecord) -> None:
        error = CodebookCollapsed(f"collapsed: {', '.join(record.collapsed)}; {record}", record)
        if self._on_collapse == "raise":
            raise error
        if self._on_collapse == "warn":
            warnings.warn(str(error), RuntimeWarning, stacklevel=4)
        elif callable(self._on_collapse):
            self._on_collapse(error)


def _places(name: str, tops: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return the modules around a codebook, innermost first, as far as they are a quantizer's and hold no other."""
    places: list[str] = []
    place = name.rpartition(".")[0]
    while True:
        below = [each for each in names if not place or each.startswith(f"{place}.")]
        if below != [name]:
            return places or [place]
        places.append(place)
        if place in tops or not place:
            return places
        place = place.rpartition(".")[0]


def _name(tensor: LiveTensor, tensors: Sequence[LiveTensor]) -> str:
    """Return a codebook's label without the word for its role, where that still tells it from others."""
    short = [each.label.rpartition(" ")[0] for each in tensors]
    name = tensor.label.rpartition(" ")[0]
    return name if name and short.count(name) == 1 else tensor.label


def _to_host(figures: list[Tensor | None]) -> list[list[float] | None]:
    """Return the rows as numbers; waits for the device once where all rows are on one."""
    there = [each for each in figures if each is not None]
    if len({each.device for each in there}) > 1:
        there = [each.cpu() for each in there]
    numbers = iter(torch.cat(there).tolist() if there else [])
    return [None if each is None else [next(numbers) for _ in range(len(each))] for each in figures]
