"""Counts the codes of one codebook as they come out of its quantizer's own forward: on the device, without waiting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from vqcheck.codebook.collapse import is_collapsed
from vqcheck.live.encoder import LiveTensor
from vqcheck.live.hold_hooks import is_compiling, tensors_in
from vqcheck.live.monitor_record import BookUse
from vqcheck.live.tensor_change import TensorStep

_DEAD_AFTER: Final = 10
"""Reads without a frame after which a code is dead."""
_INTEGERS: Final = (torch.int64, torch.int32, torch.int16)


class BookCounts:
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
