"""Watches the tensors of a live VQ encoder: bit by bit against copies, since `.data` writes leave no other trace."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from vqcheck.language import tr
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
        self._rows = {
            each.name: len(each.rows(self.start[each.name])) for each in encoder.tensors if each.name in self.start
        }
        self._figures = dict.fromkeys(self.start, (0.0, 0.0, 0.0))
        """Name -> (rows that differ from the start, distance, greatest difference), as of the last look."""

    @torch.no_grad()
    def look(self, written_before: Collection[str] = ()) -> tuple[TensorStep, ...]:
        """Return how each tensor compares with the start, and whether it was written since the last look.

        `written_before` are names of tensors that are known to have been written in between. What is as it was at the
        last look costs one comparison on the device and one read, of all tensors together.
        """
        now = self.encoder.now()
        problems = self.follow(now)
        moved = self._moved(now)
        measured = [each for each in self.encoder.tensors if each.name in moved and each.name not in problems]
        read = _read([self._measure(each, now[each.name]) for each in measured])
        self._figures.update((each.name, figures) for each, figures in zip(measured, read))  # noqa: B905 - Python 3.9
        for name in moved:
            self._last[name] = now[name].clone() if name in now else None
        return tuple(
            self._step(each, problems.get(each.name, ""), each.name in moved or each.name in written_before)
            for each in self.encoder.tensors
        )

    def _step(self, tensor: LiveTensor, problem: str, written: bool) -> TensorStep:
        rows = self._rows[tensor.name]
        changed, l2, max_abs = (rows, _NAN, _NAN) if problem else self._figures[tensor.name]
        return TensorStep(
            label=tensor.label,
            changed=changed > 0 or bool(problem),
            written=written,
            rows_changed=int(changed),
            rows=rows,
            l2=l2,
            max_abs=max_abs,
            role=tensor.role,
            holds_codes=tensor.holds_codes,
            problem=problem,
        )

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

    def _moved(self, now: Mapping[str, Tensor]) -> set[str]:
        """Return the names of tensors that are not as they were at the last look: other bits, another kind, or gone."""
        moved: set[str] = set()
        pairs: dict[str, tuple[Tensor, Tensor]] = {}
        for name, last in self._last.items():
            tensor = now.get(name)
            if tensor is not None and last is not None and _has_bits_as(tensor, last):
                pairs[name] = tensor, last
            elif tensor is not None or last is not None:
                moved.add(name)
        differ = differing_bits(list(pairs.values()))
        return moved | {name for name, differs in zip(pairs, differ) if differs}  # noqa: B905 - Python 3.9

    def _measure(self, tensor: LiveTensor, now: Tensor) -> Tensor:
        """Return (rows that differ from the start, distance, greatest difference) as `[3]`."""
        start = self.start[tensor.name]
        changed = tensor.rows((bits(now) != bits(start)).view(start.shape)).any(dim=1).sum()
        distance = (_wide(now) - _wide(start)).reshape(-1)
        greatest = distance.abs().max() if distance.numel() else distance.sum()
        return torch.stack([changed.to(distance), distance.norm(), greatest])


def bits(tensor: Tensor) -> Tensor:
    """Return a tensor's elements as integers of their width, `[N]`: NaN payloads and the sign of zero count."""
    # a tensor may be the negative or the conjugate of what its memory holds, until that is written out
    return tensor.resolve_conj().resolve_neg().contiguous().reshape(-1).view(INTEGERS[tensor.element_size()])


def differing_bits(pairs: Sequence[tuple[Tensor, Tensor]]) -> list[bool]:
    """Tell of each pair of tensors of one kind whether any bit differs; waits once for each device."""
    answers = [False] * len(pairs)
    by_device: dict[torch.device, list[int]] = {}
    for place, (tensor, _) in enumerate(pairs):
        by_device.setdefault(tensor.device, []).append(place)
    for device, places in by_device.items():
        one, other = ([bits(pairs[place][side]) for place in places] for side in (0, 1))
        # on a CPU there is nothing to wait for, and `equal` makes no tensor in between
        differ = not_equal if device.type == "cpu" else not_equal_at_once
        for place, differs in zip(places, differ(one, other)):  # noqa: B905 - Python 3.9
            answers[place] = differs
    return answers


def not_equal(one: list[Tensor], other: list[Tensor]) -> list[bool]:
    """Tell of tensors of integers which differ, one after the other."""
    return [not torch.equal(a, b) for a, b in zip(one, other)]  # noqa: B905


def not_equal_at_once(one: list[Tensor], other: list[Tensor]) -> list[bool]:
    """Tell the same of tensors on one device, which is waited for once."""
    # integers wrap around, and only equal ones give 0
    differences = torch._foreach_sub(one, other)  # noqa: SLF001 - the only operator that takes many tensors
    flags: list[bool] = torch.stack([each.any() for each in differences]).tolist()
    return flags


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Tell whether two tensors hold the same bits."""
    return _has_bits_as(a, b) and torch.equal(bits(a), bits(b))


def _has_bits_as(a: Tensor, b: Tensor) -> bool:
    """Tell whether the bits of two tensors can be compared at all."""
    if is_sharded(a) or is_sharded(b):
        return False
    alike = a.shape == b.shape and a.dtype == b.dtype and a.device == b.device
    return alike and a.layout == b.layout == torch.strided


def _problem(tensor: Tensor | None, copy: Tensor) -> str:
    if tensor is None:
        return MISSING
    if is_sharded(tensor):
        return tr("is now sharded over processes")
    if tensor.is_meta:
        return tr("is now on the meta device, without values")
    if tensor.layout != copy.layout:
        return _is_now(tensor.layout, copy.layout)
    if tensor.dtype != copy.dtype:
        return _is_now(tensor.dtype, copy.dtype)
    if tensor.shape != copy.shape:
        return tr("has now the shape {now}, had {before}", now=str(list(tensor.shape)), before=str(list(copy.shape)))
    return ""


def _is_now(kind: object, before: object) -> str:
    return tr(
        "is now {now}, was {before}", now=str(kind).replace("torch.", ""), before=str(before).replace("torch.", "")
    )


def _wide(tensor: Tensor) -> Tensor:
    """Return float64, or float32 on the device that has none."""
    return tensor.float() if tensor.device.type == "mps" else tensor.double()


def _read(figures: list[Tensor]) -> list[tuple[float, float, float]]:
    """Return the figures in their order; waits once for each device."""
    if len({each.device for each in figures}) > 1:
        figures = [each.cpu() for each in figures]
    return [(row[0], row[1], row[2]) for row in torch.stack(figures).tolist()] if figures else []
