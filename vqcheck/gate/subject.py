"""What the gate's checks look at: one configured s2 run, with files opened once and errors kept for their check."""

import os
from dataclasses import dataclass
from functools import cached_property

from vqcheck.audit.lock import NAME, Lock, read_lock
from vqcheck.audit.training_reads import PRETRAINED, as_training_reads, not_found
from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.codebook.find import find_copies
from vqcheck.codebook.inspection import Inspection, inspect
from vqcheck.errors import UsageError
from vqcheck.experiment.s2_run import S2Run


@dataclass(frozen=True)
class Subject:
    """One run before it starts."""

    run: S2Run
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
        if self.run.pretrained_s2G is None:
            raise UsageError(f"{self.run.config}: names no pretrained_s2G to start from")
        return self.run.pretrained_s2G

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
        if self.run.exp_dir is None:
            raise UsageError(f"{self.run.config}: names no exp_dir")
        if not os.path.isdir(self.run.exp_dir):
            raise UsageError(
                f"{self.run.exp_dir}: there is no such experiment directory (--root sets where paths begin)"
            )
        return self.run.exp_dir
