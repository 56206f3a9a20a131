"""The option `--family FILE`: rows of the user's own in front of the family table."""

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vqcheck.errors import NoCodebookError

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
        own = _rows(files)
        try:
            return command(*args, own=own, **kw)
        except NoCodebookError as error:
            if not own:
                raise
            raise NoCodebookError(f"{error}; nor does {_names(own)} of --family fit it") from None

    return with_own  # type: ignore[return-value]


def tell_unused(own: "tuple[Family, ...]", used: Iterable[str]) -> None:
    """Say on stderr which of the user's rows no file was read by: a slip in a pattern would go unnoticed."""
    used = set(used)
    unused = tuple(family for family in own if family.name not in used)
    if unused:
        print(f"vqcheck: note: nothing here was read as {_names(unused)} of --family", file=sys.stderr)


def _names(families: "tuple[Family, ...]") -> str:
    return ", ".join(repr(family.name) for family in families)


def _rows(files: tuple[str, ...]) -> "tuple[Family, ...]":
    if not files:
        return ()
    from vqcheck.codebook.own_family import read_own_family

    return tuple(read_own_family(file) for file in files)
