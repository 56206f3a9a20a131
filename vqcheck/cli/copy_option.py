"""The option `--copy NAME`: which copy of a VQ encoder to judge where a file holds several."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])
_HELP = "Judge the copy of this name alone (weight, model, ema, ...; a dot is the top of the file)"


def copy_option(command: _Command) -> _Command:
    """Add `--copy` for one file, and pass it on as `copy`; empty where it is not given."""
    return click.option("--copy", default="", metavar="NAME", help=f"{_HELP}.")(command)


def copies_option(command: _Command) -> _Command:
    """Add `--copy` for two files, and pass it on as `copies`: none, one name for both, or A's and B's."""
    return click.option(
        "--copy",
        "copies",
        multiple=True,
        metavar="NAME",
        callback=_at_most_two,
        help=f"{_HELP}; given twice, A's and B's.",
    )(command)


def _at_most_two(_context: click.Context, _parameter: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    if len(names) > 2:
        raise click.BadParameter("give one name for both files, or A's and B's")
    return names
