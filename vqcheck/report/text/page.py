"""A page of styled lines, rendered by rich for a terminal of any width, with or without colour."""

from dataclasses import dataclass
from io import StringIO
from typing import Final

from rich.console import Console
from rich.text import Text

Span = str | tuple[str, str]
"""Plain text, or (text, style)."""

_VERDICT_STYLES: Final = {
    "identical": "green",
    "rounded": "green",
    "equal within n ulp": "green",
    "healthy": "green",
    "not stored": "cyan",
    "changed": "bold red",
    "missing": "bold red",
    "other shape": "bold red",
    "never trained": "bold red",
    "not finite": "bold red",
    "no codebook": "yellow",
}


@dataclass(frozen=True, slots=True)
class Style:
    """How a text report is to look."""

    color: bool = False
    width: int = 0
    """Columns of the terminal; 0 where lines need not be broken, as in a file or a pipe."""
    verbose: bool = False


def verdict(word: str, width: int = 0) -> Span:
    """Return a verdict in its colour, padded to a width; the word itself carries the meaning."""
    return word.ljust(width), _VERDICT_STYLES.get(word, "")


class Page:
    """Collects lines and renders them."""

    def __init__(self, style: Style) -> None:
        self._out = StringIO()
        self._width = style.width and max(style.width, 20)
        self._console = Console(
            file=self._out,
            force_terminal=style.color,
            color_system="standard" if style.color else None,
            no_color=not style.color,
            width=max(style.width, 20) if style.width else 10_000,
            highlight=False,
            markup=False,
            emoji=False,
            legacy_windows=False,
        )

    def line(self, *spans: Span, indent: int = 0) -> None:
        """Add one line; where it is too long for the terminal it continues indented by `indent` columns."""
        rest = Text.assemble(*((span, "") if isinstance(span, str) else span for span in spans))
        margin = 0
        while self._width and rest.cell_len + margin > self._width:
            room = max(self._width - margin, 10)
            first = rest.wrap(self._console, room)[0]
            first.rstrip()
            self._console.print(Text(" " * margin) + first, soft_wrap=True)
            rest = rest[len(first) :]
            blanks = len(rest.plain) - len(rest.plain.lstrip())
            rest = rest[blanks:]
            margin = indent
        rest.rstrip()
        self._console.print(Text(" " * margin) + rest, soft_wrap=True)

    def blank(self) -> None:
        """Add an empty line."""
        self._console.print()

    def text(self) -> str:
        """Return the page."""
        return self._out.getvalue()
