"""Which token file an s1 (GPT) checkpoint was trained on, by its own word."""

import os

from vqcheck.checkpoint.container import Plain
from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.codebook import model
from vqcheck.errors import UsageError


def recorded_tsv(path: str) -> str | None:
    """Return the path of the token file that an s1 checkpoint names, as it is written there; None if it names none.

    Exported checkpoints keep it in `config`, Lightning checkpoints in `hyper_parameters`.

    Raises:
        CheckpointError: the file cannot be read.
        UsageError: it is no s1 checkpoint.

    """
    with open_checkpoint(path) as checkpoint:
        if model.identify(checkpoint).kind != "s1 GPT":
            raise UsageError("is no s1 (GPT) checkpoint", path)
        information = checkpoint.information
    config = information.get("config") or _inner(information.get("hyper_parameters"))
    named = config.get("train_semantic_path") if isinstance(config, dict) else None
    return named if isinstance(named, str) and named else None


def same_experiment(recorded: str, tsv: str) -> bool:
    """Say whether two paths name the token file of one experiment: the same folder name and file name.

    The rest of a path changes with the machine and the working directory, and proves nothing either way.
    """
    return _tail(recorded) == _tail(tsv)


def _inner(value: Plain | None) -> Plain | None:
    return value.get("config") if isinstance(value, dict) else None


def _tail(path: str) -> list[str]:
    return os.path.abspath(path.replace("\\", "/")).split("/" if "/" in path else os.sep)[-2:]
