"""Options that several commands have: which copy to judge, what a comparison judges, and rows of the user's own."""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from vqcheck.checkpoint.remote.address import is_address
from vqcheck.cli.click_language import for_click
from vqcheck.cli.terminal import say
from vqcheck.codebook.comparison import Scope
from vqcheck.errors import NoCodebookError
from vqcheck.language import tr

if TYPE_CHECKING:
    from vqcheck.codebook.family import Family
    from vqcheck.report.views.many_files import JudgedFile

_Command = TypeVar("_Command", bound=Callable[..., Any])
_COPY: Final = "Judge the copy of this name alone (weight, model, ema, ...; a dot is the top of the file)"


class ThatExists(click.Path):
    """A path on this machine that must be there; names near one that is not are suggested."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if is_address(value):
            raise click.BadParameter("is an address, and this takes a whole file or folder; download it", ctx, param)
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            from vqcheck.cli.near_names import with_near_names

            said = with_near_names(error.message.rstrip(".。"), os.fspath(value))
            raise click.BadParameter(for_click(said), ctx, param) from None


def expanded(paths: Sequence[str]) -> tuple[str, ...]:
    """Return paths, with patterns replaced by the files that fit them, in order: shells of Windows leave that to us.

    What exists under the name is no pattern; one that nothing fits stays, and fails as a file that is not there.
    """
    found: list[str] = []
    for path in paths:
        matches: list[str] = []
        if any(sign in path for sign in "*?[") and not os.path.lexists(path):
            from glob import glob

            from vqcheck.experiment.layout import by_number

            matches = sorted(glob(path), key=lambda each: (os.path.dirname(each), by_number(each)))
        found += matches or [path]
    return tuple(found)


def details_option(command: _Command) -> _Command:
    """Add `--details` where several files may be named, and pass it on as `details`."""
    return click.option("--details", is_flag=True, help="Show the details of files that agree, too.")(command)


def copy_option(command: _Command) -> _Command:
    """Add `--copy` for one file, and pass it on as `copy`; empty where it is not given."""
    return click.option("--copy", default="", metavar="NAME", help=f"{_COPY}.")(command)


def copies_option(command: _Command) -> _Command:
    """Add `--copy` for two files, and pass it on as `copies`: none, one name for both, or A's and B's."""
    return click.option(
        "--copy",
        "copies",
        multiple=True,
        metavar="NAME",
        callback=_at_most_two,
        help=f"{_COPY}; given twice, A's and B's.",
    )(command)


def _at_most_two(_context: click.Context, _parameter: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    if len(names) > 2:
        raise click.BadParameter("give one name for both files, or A's and B's")
    return names


def scope_option(command: _Command) -> _Command:
    """Add `--scope`, and pass it on as `scope`."""
    return click.option(
        "--scope",
        type=click.Choice([scope.value for scope in Scope]),
        default=Scope.ALL.value,
        show_default=True,
        help="Judge everything, or only what decides tokens (bookkeeping is then shown, not judged).",
    )(command)


def family_option(command: _Command) -> _Command:
    """Add `--family`, and pass the rows it names on as `own`."""
    from functools import wraps

    @click.option(
        "--family",
        "files",
        type=click.Path(readable=False),
        multiple=True,
        metavar="FILE",
        help="Also know the codec that this TOML file describes, before all others; may be given several times.",
    )
    @wraps(command)
    def with_own(*args: Any, files: tuple[str, ...], **kw: Any) -> Any:
        own = _rows(files)
        try:
            return command(*args, own=own, **kw)
        except NoCodebookError as error:
            if not own:
                raise
            raise NoCodebookError(
                tr("{message}; nor does {families} of --family fit it", message=str(error), families=_names(own))
            ) from None

    return with_own  # type: ignore[return-value]


def report_unread(files: "Iterable[JudgedFile]") -> None:
    """Say on stderr which of several files could not be judged, and why: each reason once."""
    for line in dict.fromkeys(file.document.headline for file in files if "error" in file.document.data):
        say(line)


def name_unused(own: "tuple[Family, ...]", used: Iterable[str]) -> None:
    """Say on stderr which of the user's rows no file was read by: a slip in a pattern would go unnoticed."""
    used = set(used)
    unused = tuple(family for family in own if family.name not in used)
    if unused:
        say(tr("note: nothing here was read as {families} of --family", families=_names(unused)))


def _names(families: "tuple[Family, ...]") -> str:
    return ", ".join(repr(family.name) for family in families)


def _rows(files: tuple[str, ...]) -> "tuple[Family, ...]":
    if not files:
        return ()
    from vqcheck.codebook.own_family import read_own_family

    return tuple(read_own_family(file) for file in files)
