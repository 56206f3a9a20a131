"""The files that a lock binds to a VQ encoder: the tokens of an experiment, and the s1 checkpoint trained on them."""

import hashlib
import os
from collections.abc import Callable
from itertools import groupby
from typing import Final

from vqcheck.checkpoint.container import Plain
from vqcheck.checkpoint.file import PositionedFile
from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.codebook import model
from vqcheck.codebook.digest import Digest
from vqcheck.errors import UsageError
from vqcheck.experiment.name2semantic import TokenRow, read_name2semantic
from vqcheck.language import tr
from vqcheck.sanitize import without_credentials

_PIECE: Final = 8 << 20

OnBytes = Callable[[int, int], None]
"""Called as (bytes digested, bytes in all) while the s1 checkpoint is read, which is the long part."""


def tokens_digest(experiment: str) -> Digest:
    r"""Return the digest `sha256-tokens-v1` of an experiment's recorded tokens.

    It is the SHA-256 of one UTF-8 line `item<TAB>t0 t1 ...\n` for each row, the lines sorted, so that neither the order
    of rows nor header, line ends or parts are in it.

    Raises:
        UsageError: the tokens cannot be read, or a line holds none.

    """
    table = read_name2semantic(experiment)
    for where, what in table.malformed:
        raise UsageError(what, os.path.join(experiment, where))
    state = hashlib.sha256()
    # UTF-8 sorts as the characters do. No item has a tab in it, so that lines of different items sort as these do.
    for _, rows in groupby(sorted(table.rows, key=_up_to_tokens), _up_to_tokens):
        for line in sorted(f"{row.item}\t{' '.join(map(str, row.tokens))}\n".encode() for row in rows):
            state.update(line)
    return Digest("sha256-tokens-v1", state.hexdigest())


def _up_to_tokens(row: TokenRow) -> bytes:
    return f"{row.item}\t".encode()


def file_digest(path: str, on_bytes: OnBytes | None = None) -> Digest:
    """Return the SHA-256 of a file's bytes.

    Raises:
        CheckpointError: the file cannot be read, or changes meanwhile.

    """
    state = hashlib.sha256()
    with PositionedFile(path) as file:
        for start in range(0, file.size, _PIECE):
            state.update(file.read(start, min(_PIECE, file.size - start), "content"))
            if on_bytes:
                on_bytes(start, file.size)
        file.check_unchanged()
    return Digest("sha256", state.hexdigest())


def recorded_tsv(path: str) -> str | None:
    """Return the path of the token file that an s1 checkpoint names, as it is written there; None if it names none.

    Exported checkpoints keep it in `config`, Lightning checkpoints in `hyper_parameters`.

    Raises:
        CheckpointError: the file cannot be read.
        UsageError: it is not an s1 checkpoint.

    """
    with open_checkpoint(path) as checkpoint:
        if model.identify(checkpoint).kind != "s1 GPT":
            raise UsageError(tr("is not an s1 (GPT) checkpoint"), path)
        information = checkpoint.information
    config = information.get("config") or _inner(information.get("hyper_parameters"))
    named = config.get("train_semantic_path") if isinstance(config, dict) else None
    return without_credentials(named) if isinstance(named, str) and named else None


def same_experiment(recorded: str, tsv: str) -> bool:
    """Say whether two paths name the token file of one experiment: the same folder name and file name.

    The rest of a path changes with the machine and the working directory, and proves nothing either way.
    """
    return _tail(recorded) == _tail(tsv)


def _inner(value: Plain | None) -> Plain | None:
    return value.get("config") if isinstance(value, dict) else None


def _tail(path: str) -> list[str]:
    return os.path.abspath(path.replace("\\", "/")).split("/" if "/" in path else os.sep)[-2:]
