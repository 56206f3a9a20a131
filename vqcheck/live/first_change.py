"""Keeps the first step that changed each tensor of a live VQ encoder, on the device."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from vqcheck.live.flat_copies import FlatCopies
from vqcheck.live.watch import EncoderWatch


class FirstChanges:
    """The number of steps for which each tensor was bit by bit what it was at the start.

    Both the verdict of a step and the count stay on the device; only `read` waits for them.
    """

    def __init__(self, watch: EncoderWatch, steps: int = 0) -> None:
        self.steps = steps
        self.problems: dict[str, str] = {}
        """Names of tensors that are no longer comparable, and why."""
        self._watch = watch
        self._known: dict[str, int] = {}
        self._flat = self._laid_flat()

    @torch.no_grad()
    def step(self, now: Mapping[str, Tensor]) -> None:
        """Count one more step, after which the tensors are `now`."""
        self.look(now)
        self.steps += 1
        for flat in self._flat:
            flat.count()

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
            self._flat = self._laid_flat()
        comparable = {name: now[name] for name in start if name not in self.problems}
        for flat in self._flat:
            flat.compare(comparable)

    def read(self) -> dict[str, int]:
        """Return name -> the first step with other bits, for each tensor that ever had any; waits for the device."""
        for flat in self._flat:
            for name, clean in flat.read().items():
                self._known.setdefault(name, clean + 1)
        return dict(self._known)

    def let_go(self) -> None:
        """Give back the memory of the copies; there is nothing to compare any more."""
        self._flat = []
        self._watch.let_go()

    @torch.inference_mode(False)
    @torch.no_grad()
    def _laid_flat(self) -> list[FlatCopies]:
        """Lay the copies of each device behind each other, in the place of those that the watch has."""
        by_device: dict[torch.device, dict[str, Tensor]] = {}
        for name, tensor in self._watch.start.items():
            by_device.setdefault(tensor.device, {})[name] = tensor
        laid = [FlatCopies(tensors, self.steps) for tensors in by_device.values()]
        for flat in laid:
            self._watch.keep(flat.copies)
        return laid
