"""The `vqcheck` program: finds the command, and turns every outcome into an exit status."""

import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Final

import click

from vqcheck import __version__
from vqcheck.errors import VqcheckError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_COMMANDS: Final = {
    "inspect": "Show what is in a checkpoint: VQ encoder, digests, health.",
    "diff": "Compare the VQ encoders of two checkpoints, bit by bit.",
    "tokens": "Check that recorded tokens come from this checkpoint.",
    "history": "Show when the VQ encoder of a run began to move.",
    "replay": "Run the s2 training step, show each write to the codebook.",
    "lock": "Record the VQ encoder of a checkpoint, to verify it later.",
    "gate": "Check everything that s2 training relies on, before it starts.",
}
"""Name -> one line of help. Kept here, so that listing the commands imports none of them."""

EXIT_COULD_NOT_CHECK: Final = 2


class _LazyGroup(click.Group):
    """Imports a command's module when the command is used, so that the others cost nothing."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        command = getattr(import_module(f"vqcheck.cli.{cmd_name}"), "command")  # noqa: B009 - a module has no such type
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem

        names = [CompletionItem(name, help=text) for name, text in _COMMANDS.items() if name.startswith(incomplete)]
        return names + click.Command.shell_complete(self, ctx, incomplete)


_EPILOG: Final = """
Exit status: 0 consistent, 1 changed or inconsistent, 2 could not check.

\b
Completion in bash: eval "$(_VQCHECK_COMPLETE=bash_source vqcheck)"
           in zsh:  eval "$(_VQCHECK_COMPLETE=zsh_source vqcheck)"
           in fish: _VQCHECK_COMPLETE=fish_source vqcheck | source
"""


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EPILOG)
@click.version_option(__version__, prog_name="vqcheck")
def program() -> None:
    """Check that the codebook of a two-stage VQ speech model stays the same between the stages.

    \b
    vqcheck inspect s2G2333k.pth          what is in this file
    vqcheck diff s2G2333k.pth G_400.pth   did the VQ encoder move
    vqcheck replay                        does the training step move it
    vqcheck gate s2.json                  may s2 training start
    """  # noqa: D301 - click looks for the control character itself


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status; never raises."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    _open_missing_streams()
    for stream in (sys.stdout, sys.stderr):
        # File names and the text in checkpoints may hold anything; a console that cannot show it must not end the run.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="backslashreplace")
    try:
        status = program.main(args=arguments, prog_name="vqcheck", standalone_mode=False)
        code = status if isinstance(status, int) else 0
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        code = EXIT_COULD_NOT_CHECK
    except click.UsageError as error:
        message = error.format_message()
        hint = f"; see '{error.ctx.command_path} --help'" if error.ctx else ""
        code = _failed(arguments, f"{message.rstrip('.')}{hint}")
    except click.ClickException as error:
        code = _failed(arguments, error.format_message())
    except VqcheckError as error:
        code = _failed(arguments, str(error))
    except (click.Abort, KeyboardInterrupt):
        code = _failed(arguments, "interrupted")
    except BrokenPipeError:
        # The reader went away (`| head`); what it did not want is no failure of ours, but nothing was shown either.
        code = EXIT_COULD_NOT_CHECK
    except OSError as error:
        # Everything that is read reports its own errors; what is left is stdout. Windows calls a broken pipe EINVAL.
        code = EXIT_COULD_NOT_CHECK
        if error.errno != errno.EINVAL:
            code = _failed(arguments, f"the output cannot be written: {error.strerror}")
    except Exception as error:  # noqa: BLE001 - an internal error must not end in status 1
        if "--debug" in arguments:
            import traceback

            traceback.print_exc()
        code = _failed(arguments, f"internal error: {type(error).__name__}: {error} (--debug shows where)")
    _discard_output_nobody_reads()
    return code


def _failed(arguments: Sequence[str], message: str) -> int:
    """Say on stderr, and in a machine format on stdout, that nothing could be checked."""
    from vqcheck.cli.failure import report_failure

    line = " ".join(message.split())
    try:
        print(f"vqcheck: {line}", file=sys.stderr)
        report_failure(arguments, tuple(_COMMANDS), line)
    except OSError:
        pass
    except Exception as error:  # noqa: BLE001 - a report of a failure that fails must not end in status 1
        print(f"vqcheck: no document: {type(error).__name__}: {error}", file=sys.stderr)
    return EXIT_COULD_NOT_CHECK


def _open_missing_streams() -> None:
    """Give a process that was started without stdout or stderr something to write to."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - lives as long as the process


def _discard_output_nobody_reads() -> None:
    try:
        sys.stdout.flush()
    except OSError:
        # Python flushes again while it shuts down, and would complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
