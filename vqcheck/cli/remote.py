"""What commands that take checkpoints do where these are remote: take addresses, show progress, offer `--download`."""

import os
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vqcheck.checkpoint.remote.address import Address, is_address
from vqcheck.checkpoint.remote.transfers import with_transfers
from vqcheck.cli.click_language import for_click
from vqcheck.cli.terminal import Waiting, say
from vqcheck.language import tr
from vqcheck.sanitize import without_credentials

if TYPE_CHECKING:
    from vqcheck.cli.output import Output

_Command = TypeVar("_Command", bound=Callable[..., Any])


class CheckpointPath(click.Path):
    """A path, or the address of a remote file, which has a login nowhere but where it is opened."""

    def __init__(self) -> None:
        super().__init__(readable=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if is_address(value):
            return Address(value)
        shown = without_credentials(value)
        if shown != value and not os.path.exists(value):
            # It was meant to be an address. As a path it would stand in reports with its login.
            from vqcheck.checkpoint.not_a_checkpoint import path_kind

            kind = path_kind(value) or tr(
                "is no address as it should be spelled: {example}", example="https://HOST/FILE"
            )
            raise click.BadParameter(for_click(tr("{name}: {text}", name=shown, text=kind)), ctx, param)
        return super().convert(value, param, ctx)


def remote_option(command: _Command) -> _Command:
    """Add `--download`, and let a command read remote files; it stands next to the command, below its other options."""

    @click.option(
        "--download",
        is_flag=True,
        help="Download remote files whole before they are read, where a server cannot send parts of them.",
    )
    @wraps(command)
    def with_remote(*args: Any, download: bool, output: "Output", **kw: Any) -> Any:
        progress = _Progress(quiet=output.quiet)
        with progress, with_transfers(download=download, on_bytes=progress.step, note=_note):
            return command(*args, output=output, **kw)

    return with_remote  # type: ignore[return-value]


def _note(text: str) -> None:
    say(tr("note: {note}", note=text))


class _Progress:
    """Shows each part of a remote file that is on its way, one after the other."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._waiting: Waiting | None = None

    def step(self, host: str, done: int, total: int) -> None:
        if self._waiting is None:
            self._waiting = Waiting(tr("reading from {host}, in KB", host=host), quiet=self._quiet)
        self._waiting.step(done >> 10, total >> 10)
        if done >= total:
            self._end()

    def _end(self) -> None:
        if self._waiting is not None:
            self._waiting.__exit__()
            self._waiting = None

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._end()
