"""Watches the tensors of a live VQ encoder: bit by bit against copies, since `.data` writes leave no other trace."""

from operator import attrgetter

import torch
from torch import Tensor, nn

from vqcheck.replay.live import tensor_names
from vqcheck.replay.trace import TensorStep
from vqcheck.runtime.bits import bits, same_bits


class Watch:
    """Copies of the VQ encoder at the start and at the last look.

    Tensors are found by name at every look, so one that was replaced by another tensor is seen too.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._getters = {label: attrgetter(name) for label, name in tensor_names(module).items()}
        self._start = {label: tensor.clone() for label, tensor in self.tensors().items()}
        self._last = {label: tensor.clone() for label, tensor in self._start.items()}

    @property
    def labels(self) -> list[str]:
        return list(self._getters)

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors as they stand now, detached."""
        return {label: get(self._module).detach() for label, get in self._getters.items()}

    def written(self, labels: list[str]) -> list[str]:
        """Return those of `labels` whose bits changed since the last look at them, and take new copies of these."""
        now = self.tensors()
        changed = [label for label in labels if not same_bits(now[label], self._last[label])]
        for label in changed:
            self._last[label] = now[label].clone()
        return changed

    @torch.no_grad()
    def look(self, written_before: frozenset[str] = frozenset()) -> list[TensorStep]:
        """Return how each tensor compares with the start, and whether it was written since the last look.

        `written_before` are labels that `written` has reported since then. All numbers are computed on the device and
        read at once.
        """
        now = self.tensors()
        figures = {}
        for label, tensor in now.items():
            start, last = self._start[label], self._last[label]
            if tensor.shape == start.shape and tensor.dtype == start.dtype and tensor.device == start.device:
                figures[label] = _figures(tensor, start, last, _rows(label, start))
        read = dict(zip(figures, _read(list(figures.values())), strict=True))
        steps = []
        for label, tensor in now.items():
            start = self._start[label]
            rows = _rows(label, start)
            moved, rows_changed, l2, max_abs = read.get(label, (1.0, float(rows), float("nan"), float("nan")))
            if moved:
                self._last[label] = tensor.clone()
            written = bool(moved) or label in written_before
            steps.append(TensorStep(label, rows_changed > 0, written, int(rows_changed), rows, l2, max_abs))
        return steps


def _rows(label: str, tensor: Tensor) -> int:
    """Return how many rows a tensor has: codes, of all heads where it has several; else the first axis."""
    if label.endswith(("codes", "ema_sum")) and tensor.dim() == 3:
        return tensor.shape[0] * tensor.shape[1]
    return tensor.shape[0] if tensor.dim() else 1


def _figures(tensor: Tensor, start: Tensor, last: Tensor, rows: int) -> Tensor:
    """Return (any bit differs from last, rows that differ from start, distance, greatest difference) as `[4]`."""
    now = bits(tensor)
    differs = now != bits(start)
    changed = differs.view(rows, -1).any(dim=1).sum()
    distance = tensor.float().reshape(-1) - start.float().reshape(-1)
    moved = (now != bits(last)).any()
    return torch.stack([moved.double(), changed.double(), distance.double().norm(), distance.abs().max().double()])


def _read(figures: list[Tensor]) -> list[tuple[float, float, float, float]]:
    if not figures:
        return []
    return [(row[0], row[1], row[2], row[3]) for row in torch.stack(figures).tolist()]
