"""Counts the operators of one training step and the reads of values for which the host waits: what does not scatter."""

from collections import Counter

import torch
from torch.utils._python_dispatch import TorchDispatchMode

WAITS = ("_local_scalar_dense", "equal", "nonzero", "is_nonzero")


class StepCounts(TorchDispatchMode):
    """While active, counts operators by name; what only looks at a tensor in another way does not count."""

    def __init__(self):
        super().__init__()
        self.forward, self.backward, self.optimizer = Counter(), Counter(), Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.split("::")[1]
        returned = func._schema.returns
        if not (returned and all(each.alias_info and not each.alias_info.is_write for each in returned)):
            self.phase(name)[name] += 1
        return func(*args, **(kwargs or {}))

    def phase(self, name):
        if torch._C._current_autograd_node() is not None:
            return self.backward
        return self.optimizer if name.startswith(("_fused_adam", "_foreach")) else self.forward

    @property
    def operators(self):
        return sum(sum(each.values()) for each in (self.forward, self.backward, self.optimizer))

    @property
    def waits(self):
        return sum(each[name] for each in (self.forward, self.backward, self.optimizer) for name in WAITS)


def counted(work):
    """Return what some work dispatched."""
    with StepCounts() as counts:
        work()
    return counts
