"""Keeps the first step that changed each tensor of a live VQ encoder, on the device."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from vqcheck.live.watch import EncoderWatch, bits


class FirstChanges:
    """The number of steps for which each tensor was bit by bit what it was at the start.

    Both the verdict of a step and the count stay on the device; only `read` waits for them.
    """

    def __init__(self, watch: EncoderWatch) -> None:
        self.steps = 0
        self.problems: dict[str, str] = {}
        """Names of tensors that are no longer comparable, and why."""
        self._watch = watch
        self._known: dict[str, int] = {}
        self._flags = self._new_flags()

    @torch.no_grad()
    def step(self, now: Mapping[str, Tensor]) -> None:
        """Count one more step, after which the tensors are `now`."""
        self.look(now)
        self.steps += 1
        for flags in self._flags:
            flags.count()

    @torch.no_grad()
    def look(self, now: Mapping[str, Tensor]) -> None:
        """Compare without counting: what is found belongs to the step under way."""
        before = {name: tensor.device for name, tensor in self._watch.start.items()}
        for name, problem in self._watch.follow(now).items():
            if name not in self.problems:
                self.problems[name] = problem
                self._known.setdefault(name, self.steps + 1)
        start = self._watch.start
        if any(tensor.device != before[name] for name, tensor in start.items()):
            self.read()
            self._flags = self._new_flags()
        comparable = {name: now[name] for name in start if name not in self.problems}
        for flags in self._flags:
            flags.compare(comparable, start)

    def read(self) -> dict[str, int]:
        """Return name -> the first step with other bits, for each tensor that ever had any; waits for the device."""
        for flags in self._flags:
            for name, clean in flags.read().items():
                self._known.setdefault(name, clean + 1)
        return dict(self._known)

    def _new_flags(self) -> list[_DeviceFlags]:
        by_device: dict[torch.device, list[str]] = {}
        for name, tensor in self._watch.start.items():
            by_device.setdefault(tensor.device, []).append(name)
        return [_DeviceFlags(names, device, self.steps) for device, names in by_device.items()]


class _DeviceFlags:
    """The tensors of one device: which are still the same, and for how many steps they were."""

    def __init__(self, names: list[str], device: torch.device, steps: int) -> None:
        self.names = names
        self._same = torch.ones(len(names), dtype=torch.bool, device=device)
        self._clean = torch.full((len(names),), steps, dtype=torch.int64, device=device)

    def compare(self, now: Mapping[str, Tensor], start: Mapping[str, Tensor]) -> None:
        self._same &= torch.stack(
            [_same(now[name], start[name]) if name in now else self._same[i] for i, name in enumerate(self.names)]
        )

    def count(self) -> None:
        self._clean += self._same

    def read(self) -> dict[str, int]:
        """Return name -> steps before the first change, for each tensor that changed."""
        clean = torch.where(self._same, -1, self._clean).tolist()
        return {name: steps for name, steps in zip(self.names, clean) if steps >= 0}  # noqa: B905 - Python 3.9


def _same(a: Tensor, b: Tensor) -> Tensor:
    if not a.numel():
        return torch.ones((), dtype=torch.bool, device=a.device)
    if a.device.type == "cpu":
        # there is nothing to wait for, and this makes no tensor in between
        return torch.tensor(torch.equal(bits(a), bits(b)))
    return (bits(a) == bits(b)).all()
