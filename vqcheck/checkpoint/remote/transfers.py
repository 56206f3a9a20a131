"""How remote files are read while a command runs: whole or in parts, how long they are waited for, who hears of it."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from vqcheck.quick_dataclass import quick_dataclass

OnBytes = Callable[[str, int, int], None]
"""Called as (host, bytes that have come, bytes that are asked for) while one part of a file is on its way."""


@quick_dataclass(frozen=True, slots=True)
class Limits:
    """How patient the program is with a server, in seconds unless said otherwise."""

    connect: float = 10
    silence: float = 30
    """Longest time without a byte."""
    start: float = 60
    slowest: float = 32 << 10
    """Bytes a second; a transfer may take `start`, and its bytes over this."""
    tries: int = 5
    """In a row without a byte."""
    all_tries: int = 20
    """For one part of a file, however many bytes came in between."""
    first_wait: float = 0.5
    """Before the second try; twice that before the third, and so on."""
    longest_wait: float = 60
    """A server that asks for more is given up."""
    requests: int = 256
    """To read one file."""


@quick_dataclass(frozen=True, slots=True)
class Transfers:
    """What holds for the remote files that are opened now."""

    limits: Limits = Limits()
    download: bool = False
    """Whether files are downloaded whole, and read where they were put."""
    on_bytes: OnBytes = lambda _host, _done, _total: None
    note: Callable[[str], None] = logging.getLogger("vqcheck").warning
    """Hears what the user should know, in a sentence."""


_USED: Final = [Transfers()]


def transfers() -> Transfers:
    """Return what holds now; the same for all threads, since those that a command starts work for it."""
    return _USED[-1]


@contextmanager
def with_transfers(**changes: object) -> Iterator[None]:
    """Let other things hold inside, named as the fields of `Transfers`."""
    _USED.append(replace(_USED[-1], **changes))  # type: ignore[arg-type]
    try:
        yield
    finally:
        _USED.pop()
