"""Help with options under headings, and what a shell completes where a word stands for one of ours."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from vqcheck.cli.click_language import InLanguage, in_help

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

LANG_HELP: Final = "The language of texts and pages; default: VQCHECK_LANG, else the locale. Other formats are English."
_REPORT: Final = ("file", "in_full", "format_", "lang", "quiet", "debug")


class Command(InLanguage, click.Command):
    """A command whose help shows the options that every command has for its report by themselves.

    `headings` puts further options, by the name of their parameter, under headings of their own.
    """

    def __init__(self, *args: Any, headings: Mapping[str, Sequence[str]] | None = None, **kw: Any) -> None:
        super().__init__(*args, **kw)
        self.headings = {**(headings or {}), "Report": _REPORT}

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, those of no heading first."""
        heading_of = {name: heading for heading, names in self.headings.items() for name in names}
        sections: dict[str, list[tuple[str, str]]] = {"Options": [], **{heading: [] for heading in self.headings}}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record:
                sections[heading_of.get(parameter.name or "", "Options")].append(record)
        for heading, records in sections.items():
            if records:
                with formatter.section(in_help(heading)):
                    formatter.write_dl(records)


def complete_strategy(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":  # noqa: ARG001 - click's
    """Return the strategies that begin so; none where the replay is not installed."""
    try:
        from vqcheck.replay.strategies import CHECKOUT_STRATEGIES, FACTORY_STRATEGIES, STRATEGIES
    except ImportError:
        return []
    given = ctx.params.get
    known = FACTORY_STRATEGIES if given("factory") else CHECKOUT_STRATEGIES if given("checkout") else STRATEGIES
    return _items({name: strategy.stops for name, strategy in known.items()}, incomplete)


def complete_check(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":  # noqa: ARG001
    """Return the gate's checks that begin so."""
    from vqcheck.gate.checks import CHECKS

    return _items({check.code: check.title for check in CHECKS}, incomplete)


def complete_device(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":  # noqa: ARG001
    """Return the devices that begin so."""
    return _items({"auto": "a GPU if there is one", "cpu": "", "cuda": "", "cuda:0": ""}, incomplete)


def _items(words: Mapping[str, str], incomplete: str) -> "list[CompletionItem]":
    from click.shell_completion import CompletionItem

    return [CompletionItem(word, help=text or None) for word, text in words.items() if word.startswith(incomplete)]
