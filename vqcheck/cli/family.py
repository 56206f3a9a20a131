"""The option `--family FILE`: rows of the user's own in front of the family table."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from vqcheck.codebook.family import Family

_Command = TypeVar("_Command", bound=Callable[..., Any])


def family_option(command: _Command) -> _Command:
    """Add `--family`, and pass the rows it names on as `own`."""
    from functools import wraps

    @click.option(
        "--family",
        "files",
        type=click.Path(readable=False),
        multiple=True,
        metavar="FILE",
        help="Look for the codec that this TOML file describes first; may be given several times.",
    )
    @wraps(command)
    def with_own(*args: Any, files: tuple[str, ...], **kw: Any) -> Any:
        return command(*args, own=_rows(files), **kw)

    return with_own  # type: ignore[return-value]


def _rows(files: tuple[str, ...]) -> "tuple[Family, ...]":
    if not files:
        return ()
    from vqcheck.codebook.own_family import read_own_family

    return tuple(read_own_family(file) for file in files)
