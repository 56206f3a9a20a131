"""The commands of `vqcheck`, each imported when it is used."""

from typing import TYPE_CHECKING, Final

import click

from vqcheck import __version__
from vqcheck.cli.click_language import InLanguage, for_click, in_help
from vqcheck.cli.help import LANG_HELP
from vqcheck.language import languages, listed, tr

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMMANDS: Final = {
    "check": "Is my voice affected? Finds everything and asks every question.",
    "inspect": "Show what is in a checkpoint: VQ encoder, digests, health.",
    "diff": "Compare the VQ encoders of two checkpoints, bit by bit.",
    "tokens": "Check that recorded tokens come from this checkpoint.",
    "history": "Show when the VQ encoder of a run began to move.",
    "replay": "Run the s2 training step, show each write to the codebook.",
    "run": "Run a training script with its codebooks watched.",
    "restore": "Put the VQ encoder of the base back into a file that drifted.",
    "extract": "Write the VQ encoder of a checkpoint to a file of its own.",
    "lock": "Record the VQ encoder of a checkpoint, to verify it later.",
    "gate": "Check everything that s2 training relies on, before it starts.",
}
"""Name -> one line of help. Kept here, so that listing the commands imports none of them."""


def _load(name: str) -> click.Command | None:
    """Import a command."""
    match name:
        case "check":
            from vqcheck.cli.check import command
        case "inspect":
            from vqcheck.cli.inspect import command
        case "diff":
            from vqcheck.cli.diff import command
        case "tokens":
            from vqcheck.cli.tokens import command
        case "history":
            from vqcheck.cli.history import command
        case "replay":
            from vqcheck.cli.replay import command
        case "run":
            from vqcheck.cli.run import command
        case "restore":
            from vqcheck.cli.restore import command
        case "extract":
            from vqcheck.cli.extract import command
        case "lock":
            from vqcheck.cli.lock import command
        case "gate":
            from vqcheck.cli.gate import command
        case _:
            return None
    return command


class _LazyGroup(InLanguage, click.Group):
    """Imports a command's module when the command is used, so that the others cost nothing."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        return _load(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; `help` asks for the help of the one behind it, and a slip is told with what may be meant."""
        name, *rest = args
        if name == "help":
            if not rest:
                print(ctx.get_help())
                ctx.exit()
            return self.resolve_command(ctx, [rest[0], "--help"])
        if name not in COMMANDS and not name.startswith("-"):
            from vqcheck.cli.near_names import near_commands

            near = listed([f"'{each}'" for each in near_commands(name, (*COMMANDS, "help"))], last="or")
            unknown = tr("there is no command '{name}'", name=name)
            said = tr("{message}; did you mean {names}?", message=unknown, names=near) if near else unknown
            ctx.fail(for_click(said))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            # Otherwise click prints an empty line.
            raise click.Abort from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section(in_help("Commands")):
            formatter.write_dl([(name, in_help(text)) for name, text in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem

        names = [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]
        return names + click.Command.shell_complete(self, ctx, incomplete)


_EPILOG: Final = """
Exit status: 0 consistent, 1 changed or inconsistent, 2 could not check.

\b
Completion in bash: eval "$(_VQCHECK_COMPLETE=bash_source vqcheck)"
           in zsh:  eval "$(_VQCHECK_COMPLETE=zsh_source vqcheck)"
           in fish: _VQCHECK_COMPLETE=fish_source vqcheck | source
"""


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EPILOG,
)
@click.option("--lang", type=click.Choice(languages()), expose_value=False, help=LANG_HELP)
@click.version_option(__version__, "-V", "--version", prog_name="vqcheck")
def program() -> None:
    """Check that the codebook of a two-stage VQ speech model stays the same between the stages.

    \b
    vqcheck check                         is my voice affected
    vqcheck inspect s2G2333k.pth          what is in this file
    vqcheck diff s2G2333k.pth G_400.pth   did the VQ encoder move
    vqcheck replay                        does the training step move it
    vqcheck gate s2.json                  may s2 training start
    """  # noqa: D301 - click looks for the control character itself
