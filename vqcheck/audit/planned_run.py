"""An s2 training run before it starts, and what of its files the training script loads.

Each file is opened once, and its errors are kept for the judgement that needs it.
"""

import os
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from vqcheck.audit.lock import NAME, Lock, read_lock
from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook.find import find_copies
from vqcheck.codebook.inspection import inspect
from vqcheck.codebook.inspection_result import Inspection
from vqcheck.errors import UsageError
from vqcheck.experiment.config_file import S2Run, absent
from vqcheck.experiment.layout import tree_around
from vqcheck.language import tr

PRETRAINED: Final = "weight"
"""Where the training script looks for the model to start from."""
RESUMED: Final = "model"
"""Where it looks in a checkpoint of its own."""
_BOOK: Final = "quantizer.vq.layers.0._codebook"
TEXT_EMBEDDING: Final = "enc_p.text_embedding.weight"
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
            UsageError: the config names none, or it is not there.

        """
        path, key = self.s2.pretrained_s2G, self.s2.key("subject", "pretrained_s2G")
        if path is None:
            raise UsageError(tr("names no base model to start from ({key})", key=key), self.s2.config)
        if not os.path.exists(path):
            raise UsageError(self._missing(key, path), self.s2.config)
        return path

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
    def symbols(self) -> int | None:
        """How many text symbols that file has an embedding for; None where it has none by the name training reads."""
        with open_checkpoint(self.pretrained) as checkpoint:
            embedding = as_training_reads(checkpoint, PRETRAINED).tensors.get(TEXT_EMBEDDING)
        return embedding.shape[0] if embedding is not None and embedding.shape else None

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
        path, key = self.s2.exp_dir, self.s2.key("data", "exp_dir")
        if path is None:
            raise UsageError(tr("names no experiment directory ({key})", key=key), self.s2.config)
        if not os.path.isdir(path):
            if os.path.exists(path):
                raise UsageError(tr("{name}: {text}", name=key, text=tr("is not a folder")), self.s2.config)
            raise UsageError(self._missing(key, path), self.s2.config)
        return path

    @cached_property
    def tree(self) -> str | None:
        """The GPT-SoVITS folder around the config."""
        return tree_around(self.s2.config)

    def _missing(self, key: str, path: str) -> str:
        """Return that what a key names is not there, and where in the GPT-SoVITS folder around the config it may be."""
        said = tr("{name}: {text}", name=key, text=absent(path))
        if self.tree is None:
            return said
        if not os.path.isabs(path) and os.path.exists(os.path.join(self.tree, path)):
            return tr("{said}; there is one in {tree}: --root {tree}", said=said, tree=self.tree)
        parts = [part for part in re.split(r"[/\\]", path) if part not in ("", ".", "..")]
        tails = (os.path.join(self.tree, *parts[first:]) for first in range(len(parts) - 1))
        found = next((tail for tail in tails if os.path.exists(tail)), "")
        return tr("{said}; was the folder moved? There is {found}", said=said, found=found) if found else said


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
