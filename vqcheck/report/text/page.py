"""A page of styled lines, rendered by rich for a terminal of any width, with or without colour."""

from dataclasses import dataclass
from io import StringIO
from typing import Final

from rich.console import Console
from rich.text import Text

from vqcheck.report.text.wrap import lines
from vqcheck.sanitize import sanitize

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


_PROSE: Final = 80
"""Columns of prose where the page has no width of its own."""


@dataclass(frozen=True, slots=True)
class Style:
    """How a text report is to look."""

    color: bool = False
    width: int = 0
    """Columns of the terminal; 0 where lines need not be broken, as in a file or a pipe."""
    verbose: bool = False
    encoding: str = "utf-8"
    """What the stream can show; other characters are escaped before lines are broken and columns are measured."""


def verdict(word: str, width: int = 0) -> Span:
    """Return a verdict in its colour, padded to a width; the word itself carries the meaning."""
    return word.ljust(width), _VERDICT_STYLES.get(word, "")


class Page:
    """Collects lines and renders them."""

    def __init__(self, style: Style) -> None:
        self._out = StringIO()
        self._encoding = style.encoding
        self.width = style.width and max(style.width, 20)
        """Columns of the terminal; 0 where lines need not be broken."""
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

    def line(self, *spans: Span, indent: int = 0, within: int = 0) -> None:
        """Add one line; where it is too long for the terminal it continues indented by `indent` columns.

        `within` gives the columns where the page has no width of its own: words are then never cut.
        """
        pairs = ((span, "") if isinstance(span, str) else span for span in spans)
        whole = Text.assemble(*((self.shown(text), look) for text, look in pairs))
        whole.rstrip()
        width = self.width or within
        if not width or whole.cell_len <= width:
            self._console.print(whole, soft_wrap=True)
            return
        indent = min(indent, width // 2)
        for number, (start, end) in enumerate(lines(whole.plain, width, width - indent, cut=bool(self.width))):
            self._console.print(Text(" " * indent * bool(number)) + whole[start:end], soft_wrap=True)

    def shown(self, text: str) -> str:
        """Return text as the stream shows it.

        Much of it was written by others: what would steer the terminal is escaped, wherever it comes from.
        """
        return sanitize(text).encode(self._encoding, "backslashreplace").decode(self._encoding)

    def prose(self, text: str, *first: Span, indent: int, look: str = "") -> None:
        """Add a paragraph, broken into lines also in a file or a pipe; `first` stands in front, `indent` wide."""
        self.line(*first, (text, look), indent=indent, within=_PROSE)

    def blank(self) -> None:
        """Add an empty line."""
        self._console.print()

    def text(self) -> str:
        """Return the page."""
        return self._out.getvalue()
