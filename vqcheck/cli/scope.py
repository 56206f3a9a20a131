"""The option `--scope`: what a comparison judges."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from vqcheck.codebook.comparison import ALL, SCOPES

_Command = TypeVar("_Command", bound=Callable[..., Any])


def scope_option(command: _Command) -> _Command:
    """Add `--scope`, and pass it on as `scope`."""
    return click.option(
        "--scope",
        type=click.Choice(SCOPES),
        default=ALL,
        show_default=True,
        help="Judge everything, or only what decides tokens (bookkeeping is then shown, not judged).",
    )(command)
