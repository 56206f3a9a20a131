"""Compares a live VQ encoder with a copy of it at every step, on the device and without waiting for it."""

from collections.abc import Mapping

import torch
from torch import Tensor

from vqcheck.runtime.bits import bits


class Comparison:
    """One copy of each tensor, and the number of steps for which its bits were the same.

    Both the verdict of a step and the count stay on the device; only `first_steps` reads them.  Nothing is taken on
    trust: a `.data` write leaves the version counter at 0.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.steps = 0
        self.copies = {name: tensor.clone() for name, tensor in tensors.items()}
        self.misfits: dict[str, str] = {}
        """Names of tensors that are no longer comparable, and why."""
        self._known: dict[str, int] = {}
        self._tallies = self._new_tallies()

    @torch.no_grad()
    def step(self, now: Mapping[str, Tensor]) -> None:
        """Count one more step, after which the tensors are `now`."""
        self.look(now)
        self.steps += 1
        for tally in self._tallies:
            tally.count()

    @torch.no_grad()
    def look(self, now: Mapping[str, Tensor]) -> None:
        """Compare without counting: what is found belongs to the step under way."""
        self._follow(now)
        for tally in self._tallies:
            tally.compare({name: now[name] for name in tally.names if name not in self.misfits}, self.copies)

    def first_steps(self) -> dict[str, int]:
        """Return name -> the first step with other bits, for each tensor that ever had any; waits for the device."""
        for tally in self._tallies:
            for name, clean in tally.read().items():
                self._known.setdefault(name, clean + 1)
        return dict(self._known)

    def let_go(self) -> None:
        """Give back the memory of the copies; there is nothing to compare any more."""
        self.copies, self._tallies = {}, []

    def _follow(self, now: Mapping[str, Tensor]) -> None:
        """See what host-side values tell alone: tensors that are gone, have another shape, or moved to a device."""
        moved = False
        for name, copy in self.copies.items():
            if name in self.misfits:
                continue
            tensor = now.get(name)
            misfit = _misfit(tensor, copy)
            if misfit:
                self.misfits[name] = misfit
                self._known.setdefault(name, self.steps + 1)
            elif tensor is not None and tensor.device != copy.device:
                moved = True
        if moved:
            self.first_steps()
            self.copies = {
                name: copy if name in self.misfits else copy.to(now[name].device) for name, copy in self.copies.items()
            }
            self._tallies = self._new_tallies()

    def _new_tallies(self) -> list["_Tally"]:
        by_device: dict[torch.device, list[str]] = {}
        for name, copy in self.copies.items():
            by_device.setdefault(copy.device, []).append(name)
        return [_Tally(names, device, self.steps) for device, names in by_device.items()]


class _Tally:
    """The tensors of one device: which are still the same, and for how many steps they were."""

    def __init__(self, names: list[str], device: torch.device, steps: int) -> None:
        self.names = names
        self._same = torch.ones(len(names), dtype=torch.bool, device=device)
        self._clean = torch.full((len(names),), steps, dtype=torch.int64, device=device)

    def compare(self, now: Mapping[str, Tensor], copies: Mapping[str, Tensor]) -> None:
        self._same &= torch.stack(
            [_same(now[name], copies[name]) if name in now else self._same[i] for i, name in enumerate(self.names)]
        )

    def count(self) -> None:
        self._clean += self._same

    def read(self) -> dict[str, int]:
        """Return name -> steps before the first change, for each tensor that changed."""
        clean = torch.where(self._same, -1, self._clean).tolist()
        return {name: steps for name, steps in zip(self.names, clean, strict=True) if steps >= 0}


def _same(a: Tensor, b: Tensor) -> Tensor:
    if not a.numel():
        return torch.ones((), dtype=torch.bool, device=a.device)
    if a.device.type == "cpu":
        # there is nothing to wait for, and this makes no tensor in between
        return torch.tensor(torch.equal(bits(a), bits(b)))
    return (bits(a) == bits(b)).all()


def _misfit(tensor: Tensor | None, copy: Tensor) -> str:
    if tensor is None:
        return "is gone"
    if tensor.dtype != copy.dtype:
        return f"is now {_short(tensor.dtype)}, was {_short(copy.dtype)}"
    if tensor.shape != copy.shape:
        return f"has now the shape {list(tensor.shape)}, had {list(copy.shape)}"
    return ""


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
