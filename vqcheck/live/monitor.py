"""Measures how a live model uses its codebooks: `vqcheck.monitor(net_g)`, and `step()` after each training step.

    use = vqcheck.monitor(net_g, sinks=[SummaryWriter(logs), "use.csv"], on_collapse="warn")
    for batch in loader:
        train_on(batch)
        use.step()

Hooks on the quantizer's own forward count the codes that come out of it, on the device and without waiting for it;
every `every` steps the host reads: share of codes used, perplexity, dead codes, quantisation error, and how far the
codes moved since the start.  For Weights & Biases give `lambda record: wandb.log(record.scalars(), step=record.step)`.

Frames are counted while the model is in train mode, so validation does not count; with several processes each counts
its own.  Codes are seen where a quantizer's forward returns them.  Where none does (methods called instead of forward,
forward compiled as a whole) use and error are None, a warning says so, and movement is measured all the same.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final, Literal, Union

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from vqcheck.codebook.collapse import is_collapsed
from vqcheck.errors import CodebookCollapsed, UsageError
from vqcheck.live.encoder import LiveTensor, find
from vqcheck.live.freeze import modules_to_hold
from vqcheck.live.hold_hooks import is_compiling, tensors_in
from vqcheck.live.monitor_record import ONLY, BookUse, Figures, MonitorRecord, Sink, record_table, sender
from vqcheck.live.tensor_change import TensorStep
from vqcheck.live.watch import EncoderWatch

DEFAULT_EVERY: Final = 20
_DEAD_AFTER: Final = 10
"""Reads without a frame after which a code is dead."""
_INTEGERS: Final = (torch.int64, torch.int32, torch.int16)

OnCollapse = Union[Literal["ignore", "warn", "raise"], Callable[[CodebookCollapsed], object]]  # noqa: UP007


def monitor(
    module: nn.Module, every: int = DEFAULT_EVERY, sinks: Sequence[Sink] = (), on_collapse: OnCollapse = "ignore"
) -> Monitor:
    """Measure the use of a model's codebooks from now on.

    `every` is the number of steps between two reads. Each read goes to the `sinks`: a TensorBoard SummaryWriter, the
    path of a .csv or .jsonl file, or a callable that gets the MonitorRecord. `on_collapse` says what happens at each
    read that finds a codebook collapsed (under a tenth of its codes used, or a perplexity under a twentieth):
    "ignore", "warn" with a RuntimeWarning, "raise" a CodebookCollapsed, or a callable that gets it.

    Raises:
        NoCodebookError: no VQ encoder is known under the module's names.
        UsageError: it has no codes to measure, is sharded or on the meta device; or a request that makes no sense.

    """
    return Monitor(module, every, sinks, on_collapse)


class Monitor:
    """What `monitor` returns: a context manager, or a plain object with `step()` and `read()`."""

    def __init__(
        self,
        module: nn.Module,
        every: int = DEFAULT_EVERY,
        sinks: Sequence[Sink] = (),
        on_collapse: OnCollapse = "ignore",
    ) -> None:
        if not isinstance(every, int) or every < 1:
            raise UsageError(f"every: expected a number of steps, 1 or more, given {every!r}")
        if on_collapse not in ("ignore", "warn", "raise") and not callable(on_collapse):
            raise UsageError(f"on_collapse: expected 'ignore', 'warn', 'raise' or a callable, given {on_collapse!r}")
        self._senders = [sender(sink) for sink in sinks]
        encoder = find(module)
        encoder.require_whole()
        self.steps = 0
        """How often `step()` was called."""
        self.records: list[MonitorRecord] = []
        self._every = every
        self._on_collapse = on_collapse
        self._watch = EncoderWatch(encoder)
        self._tensors = [each for each in encoder.tensors if each.holds_codes]
        if not self._tensors:
            raise UsageError(f"{type(module).__name__}: its codes are a fixed grid, of which nothing is stored")
        if any(self._watch.start[each.name].is_meta for each in self._tensors):
            raise UsageError(f"{type(module).__name__}: is on the meta device and has no values yet")
        tops, names = modules_to_hold(encoder), [each.name for each in self._tensors]
        self._books = [_BookCounts(module, each, _places(each.name, tops, names)) for each in self._tensors]
        self._warned = False

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
        )
        self.records.append(record)
        if not self._warned and self.steps and not any(book.is_seen for book in self._books):
            self._warned = True
            warnings.warn(
                "no forward of a quantizer returned codes, so use and error are not measured; movement is",
                RuntimeWarning,
                stacklevel=3,
            )
        for send in self._senders:
            send(record)
        if record.collapsed:
            self._collapsed(record)
        return record

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

    def _collapsed(self, record: MonitorRecord) -> None:
        error = CodebookCollapsed(f"collapsed: {', '.join(record.collapsed)}; {record}", record)
        if self._on_collapse == "raise":
            raise error
        if self._on_collapse == "warn":
            warnings.warn(str(error), RuntimeWarning, stacklevel=4)
        elif callable(self._on_collapse):
            self._on_collapse(error)


class _BookCounts:
    """Counts the codes of one codebook as they come out of the innermost forward that returns them."""

    def __init__(self, module: nn.Module, tensor: LiveTensor, places: Sequence[str]) -> None:
        self.is_seen = False
        self._root = module
        shape = tensor.shape
        self._heads, self._codes = (shape[0], shape[1]) if len(shape) == 3 else (1, shape[0])
        self._level = len(places)
        self._counts: Tensor | None = None
        self._since: Tensor | None = None
        self._last_hit: Tensor | None = None
        self._errors: Tensor | None = None
        self._reads = 0
        self._handles: list[RemovableHandle] = [
            module.get_submodule(place).register_forward_hook(self._at(level), with_kwargs=True)
            for level, place in enumerate(places)
        ]

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()

    def _at(self, level: int) -> Callable[[nn.Module, Any, dict[str, Any], Any], None]:
        def hook(_: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
            if level <= self._level and self._root.training and not is_compiling():
                self._count(level, args, kwargs.get("mask"), output)

        return hook

    @torch.no_grad()
    def _count(self, level: int, args: Any, mask: Any, output: Any) -> None:
        found = [tensor.detach() for tensor in tensors_in(output)]
        ids = next((tensor for tensor in found if tensor.dtype in _INTEGERS and tensor.numel()), None)
        entered = next((tensor.detach() for tensor in tensors_in(args) if tensor.is_floating_point()), None)
        offsets = None if ids is None else self._offsets(ids, entered)
        if ids is None or offsets is None:
            return
        self._level, self.is_seen = level, True
        rows = self._heads * self._codes
        if self._counts is None or self._counts.device != ids.device:
            self._counts = torch.zeros(rows + 1, dtype=torch.int64, device=ids.device)
            self._since, self._last_hit = torch.zeros_like(self._counts), torch.zeros_like(self._counts)
            self._errors = torch.zeros(2, dtype=torch.float32, device=ids.device)
        # what is no code, such as the -1 of a masked frame, goes into a row of its own
        is_code = (ids >= 0) & (ids < self._codes)
        if (kept := _kept(mask, ids)) is not None:
            is_code &= kept
        row = torch.where(is_code, ids.long() + offsets, rows).reshape(-1)
        self._counts.scatter_add_(0, row, torch.ones_like(row))
        left = next((each for each in found if entered is not None and _fits(each, entered)), None)
        if left is not None and entered is not None and self._errors is not None:
            squares = (left.float() - entered.float()).pow(2)
            if kept is not None and squares.shape[:-1] == kept.shape:
                squares = squares.mean(dim=-1).masked_fill(~kept, 0).sum() / kept.sum().clamp(min=1)
            squares = squares.mean()
            self._errors += torch.stack([squares, torch.ones_like(squares)])

    def _offsets(self, ids: Tensor, entered: Tensor | None) -> Tensor | None:
        """Return what to add to ids so that each head has rows of its own; None where no axis is that of the heads."""
        heads = torch.arange(self._heads, device=ids.device) * self._codes
        if self._heads == 1:
            return heads
        if entered is not None and entered.shape[:-1] == ids.shape and ids.shape[0] == self._heads:
            return heads.reshape(-1, *([1] * (ids.dim() - 1)))
        return heads if ids.dim() > 1 and ids.shape[-1] == self._heads else None

    @torch.no_grad()
    def figures(self) -> Tensor | None:
        """Return (frames, used, least perplexity, dead, error, then frames, used and perplexity by head for collapse).

        Afterwards counting starts anew.
        """
        self._reads += 1
        counts, since, last_hit, errors = self._counts, self._since, self._last_hit, self._errors
        if counts is None or since is None or last_hit is None or errors is None:
            return None
        since += counts
        last_hit.masked_fill_(counts > 0, self._reads)
        dead = (self._reads - last_hit[:-1] >= min(_DEAD_AFTER, self._reads)).sum()
        now, longer = (each[:-1].reshape(self._heads, self._codes) for each in (counts, since))
        figures = torch.cat(
            [
                torch.stack([now.sum(), (now > 0).sum()]).float(),
                _perplexity(now).min().reshape(1),
                dead.float().reshape(1),
                (errors[0] / errors[1]).reshape(1),
                longer.sum(dim=1).float(),
                (longer > 0).sum(dim=1).float(),
                _perplexity(longer),
            ]
        )
        counts.zero_()
        errors.zero_()
        return figures

    def use(self, name: str, row: list[float] | None, moved: TensorStep) -> BookUse:
        rows = self._heads * self._codes
        if row is None or not row[0]:
            return BookUse(name, rows, 0, None, None, None, None, moved.l2, moved.rows_changed)
        frames, used, perplexity, dead, error, *by_head = row
        seen, in_use, spread = (by_head[part * self._heads : (part + 1) * self._heads] for part in range(3))
        collapsed = None
        if min(seen) >= self._codes and self._since is not None:
            judged = zip(in_use, spread)  # noqa: B905 - Python 3.9
            collapsed = any(is_collapsed(self._codes, codes, least) for codes, least in judged)
            self._since.zero_()
        return BookUse(
            name,
            rows,
            int(frames),
            used / rows,
            perplexity,
            int(dead),
            None if error != error else error,  # noqa: PLR0124 - not a number where no error was measured
            moved.l2,
            moved.rows_changed,
            collapsed,
        )


def _perplexity(counts: Tensor) -> Tensor:
    """Return the exponential of the entropy of counts `[heads, codes]`, as `[heads]`."""
    shares = counts.float() / counts.sum(dim=1, keepdim=True).clamp(min=1)
    entropy: Tensor = torch.special.entr(shares).sum(dim=1)
    return entropy.exp()


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


def _kept(mask: Any, ids: Tensor) -> Tensor | None:
    """Return which ids are of frames that a `mask` keeps, as vector-quantize-pytorch hands it on; None without one.

    Its codebook has ids `[B, T]`, `[heads, B, T]` or `[1, B heads, T]` for a mask `[B, T]`.
    """
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.dim() != 2 or ids.dim() < 2:
        return None
    heads, rest = divmod(ids.shape[-2], mask.shape[0])
    if rest or ids.shape[-1] != mask.shape[1]:
        return None
    return mask.repeat_interleave(heads, dim=0).expand_as(ids)


def _fits(left: Tensor, entered: Tensor) -> bool:
    return left.is_floating_point() and left.shape == entered.shape


def _to_host(figures: list[Tensor | None]) -> list[list[float] | None]:
    """Return the rows as numbers; waits for the device once where all rows are on one."""
    there = [each for each in figures if each is not None]
    if len({each.device for each in there}) > 1:
        there = [each.cpu() for each in there]
    numbers = iter(torch.cat(there).tolist() if there else [])
    return [None if each is None else [next(numbers) for _ in range(len(each))] for each in figures]
