"""An s2 training run before it starts, and what of its files the training script loads.

Each file is opened once, and its errors are kept for the judgement that needs it.
"""

import os
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from vqcheck.audit.lock import NAME, Lock, read_lock
from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook.find import find_copies
from vqcheck.codebook.inspection import Inspection, inspect
from vqcheck.errors import UsageError
from vqcheck.experiment.config_file import S2Run

PRETRAINED: Final = "weight"
"""Where the training script looks for the model to start from."""
RESUMED: Final = "model"
"""Where it looks in a checkpoint of its own."""
_BOOK: Final = "quantizer.vq.layers.0._codebook"
_DECIDING: Final = (f"{_BOOK}.embed", f"{_BOOK}.inited", "ssl_proj.weight", "ssl_proj.bias")
"""What decides tokens, by the names that it has in the model that is trained."""


@dataclass(frozen=True)
class PlannedRun:
    """One run before it starts."""

    s2: S2Run
    lock_given: str | None
    """The lock named on the command line; else it is looked for in the experiment."""
    s1: str | None
    """The s1 checkpoint that will be used with this run, where it was named."""
    sample: int | None
    """How many items' tokens are audited; None for all."""

    @property
    def pretrained(self) -> str:
        """Path of the generator that training starts from.

        Raises:
            UsageError: the config names none.

        """
        if self.s2.pretrained_s2G is None:
            raise UsageError("names no pretrained_s2G to start from", self.s2.config)
        return self.s2.pretrained_s2G

    @cached_property
    def inspection(self) -> Inspection:
        """The generator that training starts from, described."""
        with open_checkpoint(self.pretrained) as checkpoint:
            return inspect(as_training_reads(checkpoint, PRETRAINED))

    @cached_property
    def not_found(self) -> str:
        """The name of a tensor that training would not find in that file; empty where it finds all."""
        with open_checkpoint(self.pretrained) as checkpoint:
            return not_found(as_training_reads(checkpoint, PRETRAINED))

    @cached_property
    def unread(self) -> tuple[str, ...]:
        """Copies of a VQ encoder in that file which training does not load."""
        with open_checkpoint(self.pretrained) as checkpoint:
            used = as_training_reads(checkpoint, PRETRAINED)
            if used is checkpoint:
                return ()
            return tuple(copy.name for copy in find_copies(checkpoint).sound if copy.file.keys != used.keys)

    @property
    def lock_path(self) -> str | None:
        """The lock to go by; None where there is none and none was named.

        Raises:
            UsageError: it would lie in the experiment directory, and there is none.

        """
        if self.lock_given is not None:
            return self.lock_given
        path = os.path.join(self.experiment, NAME)
        return path if os.path.exists(path) else None

    @cached_property
    def lock(self) -> Lock | None:
        """The lock, if there is one."""
        return read_lock(self.lock_path) if self.lock_path is not None else None

    @property
    def experiment(self) -> str:
        """Path of the experiment directory.

        Raises:
            UsageError: the config names none, or it is not there.

        """
        if self.s2.exp_dir is None:
            raise UsageError("names no exp_dir", self.s2.config)
        if not os.path.isdir(self.s2.exp_dir):
            raise UsageError("there is no such experiment directory (--root sets where paths begin)", self.s2.exp_dir)
        return self.s2.exp_dir


def not_found(checkpoint: Checkpoint) -> str:
    """Return the name of a tensor that decides tokens and that training would not find; empty where it finds all.

    Names are looked up as they are: behind a prefix or a wrapper a tensor is skipped without an error, and the
    model keeps the random values that it was made with.
    """
    return next((name for name in _DECIDING if name not in checkpoint.tensors), "")


def as_training_reads(checkpoint: Checkpoint, name: str) -> Checkpoint:
    """Return an open checkpoint with the state dict of this name alone; as it is where it has none."""
    keys = (name,)
    return checkpoint.only(keys) if any(file.keys == keys for file in checkpoint.state_dicts) else checkpoint
