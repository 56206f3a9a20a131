"""What click says (help, and errors in a command line) in the language that people read."""

import contextlib
import copy
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from inspect import cleandoc
from typing import Any, Final

import click

from vqcheck import language
from vqcheck.language import localized, translated

_MACHINES: Final = ("json", "junit", "sarif", "github", "csv", ".xml", ".md")
"""How an argument ends that asks for a format of machines, whose documents stay English."""
_FORMATS: Final = ("--format", "--output", "--report", "-o")


_arguments: list[str] = []
"""Of the command line that is carried out."""


def hear(arguments: Sequence[str]) -> None:
    """Take note of the command line, before it is parsed: what it asks for decides what is said of its faults."""
    _arguments[:] = arguments


def in_language(command: Any) -> Any:
    """Return a copy of a command whose help is in the language that people read."""
    if not speaks():
        return command
    said = copy.copy(command)
    said.help, said.epilog = translated(cleandoc(command.help or "")), translated(cleandoc(command.epilog or ""))
    said.params = [copy.copy(parameter) for parameter in command.params]
    for parameter in said.params:
        if isinstance(parameter, click.Option) and parameter.help:
            parameter.help = translated(parameter.help)
    return said


def in_help(text: str) -> str:
    """Return a text of the help in the language that people read."""
    return translated(text) if speaks() else text


def for_click(text: str) -> str:
    """Return a text of ours for an exception of click's, which makes a plain string of it."""
    return localized(text) if speaks() else text


@contextlib.contextmanager
def click_in_language() -> Iterator[None]:
    """Have click say its own messages in that language: it asks gettext, which asks the environment."""
    if not speaks():
        yield
        return
    import gettext

    before, domain = os.environ.get("LANGUAGE"), gettext.textdomain()
    gettext.bindtextdomain(language.DOMAIN, language.LOCALES)
    gettext.textdomain(language.DOMAIN)
    os.environ["LANGUAGE"] = language.current()
    try:
        yield
    finally:
        gettext.textdomain(domain)
        del os.environ["LANGUAGE"]
        if before is not None:
            os.environ["LANGUAGE"] = before


def _is_for_machines(arguments: Sequence[str]) -> bool:
    """Say whether an option asks for such a format; a config called `s2.json` does not."""
    return any(
        behind.endswith(_MACHINES) and (behind.startswith(_FORMATS) or before in _FORMATS)
        for before, behind in zip(("", *arguments), arguments, strict=False)
    )


def speaks() -> bool:
    """Say whether click's words are for people alone, and whether their streams can show them."""
    if language.current() == language.ENGLISH or _is_for_machines(_arguments):
        return False
    return all(language.can_show(getattr(stream, "encoding", None) or "utf-8") for stream in (sys.stdout, sys.stderr))


class WideFormatter(click.HelpFormatter):
    """Writes help in scripts whose characters take two columns, and that put no blanks between words."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """Write how a command is called; its colon is as wide as two columns and has no blank behind it."""
        super().write_usage(prog, args, translated("Usage:") if prefix is None else prefix)

    def write_heading(self, heading: str) -> None:
        """Write the name of what follows."""
        self.write(f"{'':{self.current_indent}}{heading}：\n")

    def write_text(self, text: str) -> None:
        """Write paragraphs; one behind a backspace keeps its lines."""
        indent = " " * self.current_indent
        paragraphs = []
        for paragraph in text.split("\n\n"):
            lines = paragraph.splitlines()[1:] if paragraph.startswith("\b\n") else self._lines(paragraph, 0)
            paragraphs.append("".join(f"{indent}{line}\n" for line in lines))
        self.write("\n".join(paragraphs))

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write names with their meaning beside them, or below where a name is too long."""
        from rich.cells import cell_len

        rows = tuple(rows)
        first = min(max(cell_len(name) for name, _ in rows), col_max) + col_spacing
        for name, meaning in rows:
            lines = self._lines(meaning, first)
            beside = lines.pop(0) if lines and cell_len(name) + col_spacing <= first else ""
            gap = " " * (first - cell_len(name)) if beside else ""
            self.write(f"{'':{self.current_indent}}{name}{gap}{beside}\n")
            self.write("".join(f"{'':{self.current_indent + first}}{line}\n" for line in lines))

    def _lines(self, paragraph: str, margin: int) -> list[str]:
        from vqcheck.report.render.wrapping import wrapped_words

        # A line break of the source is a blank only between words of scripts that have blanks.
        text = re.sub(r"(?<=[^\x00-\u2e7f])\n|\n(?=[^\x00-\u2e7f])", "", paragraph).replace("\n", " ")
        return wrapped_words(text, max(self.width - self.current_indent - margin, 10)) if text else []


class InLanguage(click.Command):
    """A command, or a group of them, that speaks the language that people read, in its help and of a wrong line."""

    def make_context(self, *args: Any, **kw: Any) -> click.Context:
        """Parse the command line."""
        with click_in_language():
            return super().make_context(*args, **kw)

    def get_help(self, ctx: click.Context) -> str:
        """Return the help, its lines as wide as the terminal."""
        if speaks():
            ctx.formatter_class = WideFormatter
        return super().get_help(ctx)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help."""
        super(InLanguage, in_language(self)).format_help(ctx, formatter)
