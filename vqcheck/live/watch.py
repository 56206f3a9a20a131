"""Watches the tensors of a live VQ encoder: bit by bit against copies, since `.data` writes leave no other trace."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from vqcheck.live.encoder import LiveEncoder, LiveTensor, is_sharded
from vqcheck.live.tensor_change import MISSING, TensorStep

INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_NAN = float("nan")


class EncoderWatch:
    """Copies of a VQ encoder as it was at the start, each on the device of its tensor.

    Names are followed again at every look, so that a tensor that was replaced is seen.  The copy of the last look costs
    no memory as long as nothing changes.
    """

    @torch.inference_mode(False)
    @torch.no_grad()
    def __init__(self, encoder: LiveEncoder) -> None:
        self.encoder = encoder
        self.start = {name: tensor.clone() for name, tensor in encoder.now().items()}
        self._last: dict[str, Tensor | None] = dict(self.start)

    @torch.no_grad()
    def look(self, written_before: Collection[str] = ()) -> tuple[TensorStep, ...]:
        """Return how each tensor compares with the start, and whether it was written since the last look.

        `written_before` are names of tensors that are known to have been written in between. All numbers are computed
        on the device and read at once.
        """
        now = self.encoder.now()
        problems = self.follow(now)
        fitting = [each for each in self.encoder.tensors if each.name not in problems]
        read = iter(_read([self._figures(each, now[each.name]) for each in fitting]))
        steps = []
        for each in self.encoder.tensors:
            problem, rows = problems.get(each.name, ""), len(each.rows(self.start[each.name]))
            moved, changed, l2, max_abs = (self._is_other(each.name, now), rows, _NAN, _NAN) if problem else next(read)
            if moved:
                self._last[each.name] = now[each.name].clone() if each.name in now else None
            steps.append(
                TensorStep(
                    label=each.label,
                    changed=changed > 0 or bool(problem),
                    written=bool(moved) or each.name in written_before,
                    rows_changed=int(changed),
                    rows=rows,
                    l2=l2,
                    max_abs=max_abs,
                    role=each.role,
                    holds_codes=each.holds_codes,
                    problem=problem,
                )
            )
        return tuple(steps)

    def follow(self, now: Mapping[str, Tensor]) -> dict[str, str]:
        """Return name -> why a tensor is not comparable any more, from what the host knows without the device.

        Tensors that were moved to another device stay comparable: their copies are moved after them.
        """
        problems = {}
        for name, start in self.start.items():
            problem = _problem(now.get(name), start)
            if problem:
                problems[name] = problem
            elif now[name].device != start.device:
                self.start[name] = start.to(now[name].device)
                last = self._last[name]
                self._last[name] = self.start[name] if last is start or last is None else last.to(now[name].device)
        return problems

    def keep(self, copies: Mapping[str, Tensor]) -> None:
        """Keep other copies of the start, of the same values, in the place of those of these names."""
        for name, copy in copies.items():
            if self._last[name] is self.start[name]:
                self._last[name] = copy
            self.start[name] = copy

    def let_go(self) -> None:
        """Give back the memory of the copies; there is nothing to compare any more."""
        self.start, self._last = {}, {}

    def _is_other(self, name: str, now: Mapping[str, Tensor]) -> bool:
        """Tell whether a tensor that is missing, or no longer comparable with the start, is not as at the last look."""
        last = self._last[name]
        return last is not None if name not in now else last is None or not same_bits(now[name], last)

    def _figures(self, tensor: LiveTensor, now: Tensor) -> Tensor:
        """Return (any bit differs from last, rows that differ from start, distance, greatest difference) as `[4]`."""
        start, last = self.start[tensor.name], self._last[tensor.name]
        differs = bits(now) != bits(start)
        changed = tensor.rows(differs.view(start.shape)).any(dim=1).sum()
        if last is start:
            moved = differs.any()
        elif last is None or _problem(last, now):
            moved = torch.ones((), dtype=torch.bool, device=now.device)
        else:
            moved = (bits(now) != bits(last)).any()
        distance = (_wide(now) - _wide(start)).reshape(-1)
        greatest = distance.abs().max() if distance.numel() else distance.sum()
        return torch.stack([moved.to(distance), changed.to(distance), distance.norm(), greatest])


def bits(tensor: Tensor) -> Tensor:
    """Return a tensor's elements as integers of their width, `[N]`: NaN payloads and the sign of zero count."""
    # a tensor may be the negative or the conjugate of what its memory holds, until that is written out
    return tensor.resolve_conj().resolve_neg().contiguous().reshape(-1).view(INTEGERS[tensor.element_size()])


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Tell whether two tensors hold the same bits."""
    if is_sharded(a) or is_sharded(b):
        return False
    alike = a.shape == b.shape and a.dtype == b.dtype and a.device == b.device
    return alike and a.layout == b.layout == torch.strided and torch.equal(bits(a), bits(b))


def _problem(tensor: Tensor | None, copy: Tensor) -> str:
    if tensor is None:
        return MISSING
    if is_sharded(tensor):
        return "is now sharded over processes"
    if tensor.is_meta:
        return "is now on the meta device, without values"
    if tensor.layout != copy.layout:
        return f"is now {tensor.layout}, was {copy.layout}".replace("torch.", "")
    if tensor.dtype != copy.dtype:
        return f"is now {tensor.dtype}, was {copy.dtype}".replace("torch.", "")
    if tensor.shape != copy.shape:
        return f"has now the shape {list(tensor.shape)}, had {list(copy.shape)}"
    return ""


def _wide(tensor: Tensor) -> Tensor:
    """Return float64, or float32 on the device that has none."""
    return tensor.float() if tensor.device.type == "mps" else tensor.double()


def _read(figures: list[Tensor]) -> list[tuple[float, float, float, float]]:
    """Return the figures in their order; waits once for each device."""
    if len({each.device for each in figures}) > 1:
        figures = [each.cpu() for each in figures]
    return [(row[0], row[1], row[2], row[3]) for row in torch.stack(figures).tolist()] if figures else []
