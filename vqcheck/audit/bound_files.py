"""The files that a lock binds to a VQ encoder: digests of an experiment's tokens and of whole files."""

import hashlib
import os
from collections.abc import Callable
from typing import Final

from vqcheck.checkpoint.file import PositionedFile
from vqcheck.codebook.digest import Digest
from vqcheck.errors import UsageError
from vqcheck.experiment.name2semantic import read_name2semantic

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
    # UTF-8 sorts as the characters do.
    for line in sorted(f"{row.item}\t{' '.join(map(str, row.tokens))}\n".encode() for row in table.rows):
        state.update(line)
    return Digest("sha256-tokens-v1", state.hexdigest())


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
