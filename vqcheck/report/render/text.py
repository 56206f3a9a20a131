"""A document for people on a terminal of any width, in a pipe or in a file, with or without colour."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from vqcheck.language import can_show, localized, tr
from vqcheck.quick_dataclass import quick_dataclass
from vqcheck.report import blocks as doc
from vqcheck.report.blocks import Kind, Shown, Tone
from vqcheck.report.document import Document, Remedy
from vqcheck.report.render.columns import at_seams, fit
from vqcheck.report.render.wrapping import widest_piece, wrapped
from vqcheck.sanitize import sanitize

if TYPE_CHECKING:
    from rich.text import Text

# Rich is imported where there is more to show than one line: it takes longer than a comparison of equal files.

_LOOKS: Final = {Tone.GOOD: "green", Tone.BAD: "bold red", Tone.WARNING: "bold yellow", Tone.MUTED: "dim"}
_SIGNS: Final = (
    {Tone.GOOD: "\N{CHECK MARK}", Tone.BAD: "\N{BALLOT X}", Tone.WARNING: "!"},
    {Tone.GOOD: "\N{SQUARE ROOT}", Tone.BAD: "\N{MULTIPLICATION SIGN}", Tone.WARNING: "!"},
)
"""Beside a verdict on a terminal: the first row, of which its encoding has every sign."""
_PROSE: Final = 80
"""Columns of sentences where the stream has no width of its own."""
_NO_WIDTH: Final = 10_000
_BARS: Final = 40


@quick_dataclass(frozen=True, slots=True)
class Style:
    """How a text report is to look."""

    color: bool = False
    width: int = 0
    """Columns of the terminal; 0 where lines need not be broken, as in a file or a pipe."""
    verbose: bool = False
    signs: bool = False
    """Whether a sign stands in front of the verdict; a pipe's reader looks for the word."""
    encoding: str = "utf-8"
    """What the stream can show; other characters are escaped before lines are broken and columns are measured."""

    @property
    def level(self) -> Shown:
        return Shown.VERBOSE if self.verbose else Shown.BRIEF

    def sign(self, tone: Tone) -> str:
        """Return what stands in front of a verdict, with a blank; nothing where the stream cannot show it."""
        for signs in _SIGNS if self.signs else ():
            if "".join(signs.values()).encode(self.encoding, "ignore").decode(self.encoding) == "".join(signs.values()):
                return f"{signs[tone]} " if tone in signs else ""
        return ""

    def shown(self, text: str) -> str:
        """Return text as the stream shows it: what would steer the terminal is escaped, wherever it comes from."""
        text = localized(text) if can_show(self.encoding) else text
        return sanitize(text).encode(self.encoding, "backslashreplace").decode(self.encoding)


def render(document: Document, style: Style) -> str:
    """Return the report."""
    in_brief = document.brief and not style.verbose
    said = document.brief if in_brief else document.headline
    blocks = [block for block in document.blocks if doc.has_content(block, style.level)]
    remedies = () if in_brief else document.remedies
    if not blocks and not remedies:
        lines = [style.shown(line) for line in document.warnings]
        lines.append(f"{style.shown(document.verdict_word)}  {style.shown(said)}")
        sign = style.sign(document.verdict_tone)
        room = style.width - len(sign)
        if not style.width or all(line.isascii() and len(line) <= room for line in lines):
            return "".join(f"{line}\n" for line in (*lines[:-1], f"{sign}{lines[-1]}"))
    page = _Page(style)
    for warning in document.warnings:
        page.paragraph((doc.Word(warning, Tone.BAD),), prose=True)
    sign = style.sign(document.verdict_tone)
    verdict = tr("{sign}{verdict}", sign=sign, verdict=document.verdict_word)
    page.hanging([doc.Word(verdict, document.verdict_tone), "  "], said)
    for block in blocks:
        page.blank()
        page.block(block, 0 if isinstance(block, doc.Section) else 2)
    page.remedies(remedies)
    return page.text()


class _Page:
    """Collects lines, and renders them with rich."""

    def __init__(self, style: Style) -> None:
        from io import StringIO

        from rich.console import Console

        self._style = style
        self._out = StringIO()
        self._width = style.width and max(style.width, 20)
        self._console = Console(
            file=self._out,
            force_terminal=style.color,
            color_system="standard" if style.color else None,
            no_color=not style.color,
            width=self._width or _NO_WIDTH,
            highlight=False,
            markup=False,
            emoji=False,
            legacy_windows=False,
        )

    def text(self) -> str:
        return self._out.getvalue()

    def blank(self) -> None:
        self._console.print()

    def block(self, block: doc.Block, indent: int) -> None:
        """Add a block, if it has any content at this level."""
        if not doc.has_content(block, self._style.level):
            return
        match block:
            case doc.Section():
                self._section(block, indent)
            case doc.Beside(blocks=blocks):
                for each in blocks:
                    self.block(each, indent)
            case doc.Paragraph(text=text):
                self.paragraph(text, indent, prose=True)
            case doc.Bullets():
                self._bullets(block, indent)
            case doc.Facts():
                self._facts(block, indent)
            case doc.Table():
                self._table(block, indent)
            case doc.LineChart():
                self._chart(block, indent)

    def paragraph(self, text: doc.Inline, indent: int = 0, *, prose: bool = False) -> None:
        self.hanging([" " * indent], text, prose=prose)

    def hanging(self, first: Sequence[str | doc.Word], text: doc.Inline, *, prose: bool = False) -> None:
        """Add a text with something in front of it, under which it is not continued."""
        self._flow(self._rich(first), self._rich(text), prose=prose)

    def _flow(self, front: "Text", text: "Text", *, prose: bool = False) -> None:
        """Add a text behind another one, broken into lines as wide as the terminal.

        Where the stream has no width, only prose is broken into lines, and no word of it is cut.
        """
        from rich.text import Text

        width = self._width or (_PROSE if prose else _NO_WIDTH)
        indent = front.cell_len
        if indent > width // 2:  # too narrow for both beside each other
            text, front, indent = front + text, Text(), 2
        longest = 0 if self._width else widest_piece(text.plain)
        lines = wrapped(text, max(width - indent, longest), self._console)
        for number, line in enumerate(lines):
            self._print((Text(" " * indent) if number else front) + line)

    def _print(self, line: "Text") -> None:
        line.rstrip()
        if self._style.color:
            self._console.print(line, soft_wrap=True)
        else:
            self._out.write(f"{line.plain}\n")

    def _rich(self, text: doc.Inline) -> "Text":
        from rich.text import Text

        found = Text()
        for word in doc.words_of(text):
            if isinstance(word, str):
                found.append(self._style.shown(word))
            else:
                bold = "bold" if word.look is doc.Look.STRONG and word.tone is Tone.NEUTRAL else ""
                found.append(self._style.shown(word.text), _LOOKS.get(word.tone, bold))
        return found

    def _section(self, section: doc.Section, indent: int) -> None:
        has_heading = self._style.level in section.heading and bool(section.title)
        if has_heading:
            notes = [part for note in section.notes for part in ("  ", note)]
            self.hanging([" " * indent], [doc.Word(section.title, look=doc.Look.STRONG), *notes])
        inner = indent + 2 if has_heading or not indent else indent
        before: doc.Block | None = None
        for block in section.blocks:
            if not doc.has_content(block, self._style.level):
                continue
            if before and (
                isinstance(block, doc.Section) or (isinstance(block, doc.Table) and isinstance(before, doc.Table))
            ):
                self.blank()
            self.block(block, inner)
            before = block

    def _bullets(self, bullets: doc.Bullets, indent: int) -> None:
        items = self._most(bullets.items, bullets.most)
        for item in items:
            self.hanging([" " * indent, "- "], item, prose=True)
        self._rest(bullets, len(items), len(bullets.items), indent)

    def _most(self, rows: Sequence[doc.Inline], most: int | None) -> Sequence[doc.Inline]:
        return rows if self._style.verbose else rows[:most]

    def _rest(self, block: doc.Bullets | doc.Table, shown: int, whole: int, indent: int) -> None:
        if shown < whole and block.rest:
            self.paragraph((doc.Word(block.rest, Tone.MUTED),), indent, prose=True)

    def _facts(self, facts: doc.Facts, indent: int) -> None:
        from rich.cells import cell_len

        shown = [fact for fact in facts.facts if doc.words_of(fact.value) and self._style.level in fact.shown]
        wide = max(cell_len(self._style.shown(fact.name)) for fact in shown)
        for fact in shown:
            name = self._style.shown(fact.name)
            blanks = " " * (wide - cell_len(name) + 2)
            self.hanging([" " * indent, name, blanks], fact.value or "")

    def _table(self, table: doc.Table, indent: int) -> None:
        rows = table.rows if self._style.verbose else table.rows[: table.most]
        kept = [
            place
            for place, column in enumerate(table.columns)
            if self._style.level in column.shown and any(doc.words_of(row[place]) for row in rows)
        ]
        columns = [table.columns[place]._replace(title=self._style.shown(table.columns[place].title)) for place in kept]
        cells = [[self._rich(row[place]) for place in kept] for row in rows]
        self._grid(columns, cells, indent)
        self._rest(table, len(rows), len(table.rows), indent)

    def _grid(self, columns: Sequence[doc.Column], rows: Sequence[Sequence["Text"]], indent: int) -> None:
        """Add a table, or, where there is no room for it, its rows below each other."""
        from rich.cells import cell_len
        from rich.text import Text

        natural = [
            max([cell_len(column.title), *(row[place].cell_len for row in rows)])
            for place, column in enumerate(columns)
        ]
        fitted = fit(columns, natural, (self._width or _NO_WIDTH) - indent)
        if fitted is None:
            self._stacked(columns, rows, indent)
            return
        widths, gap = fitted
        if any(column.title for column in columns):
            self._row([Text(column.title, "bold") for column in columns], columns, widths, gap, indent)
        for row in rows:
            self._row(row, columns, widths, gap, indent)

    def _row(
        self, cells: Sequence["Text"], columns: Sequence[doc.Column], widths: Sequence[int], gap: int, indent: int
    ) -> None:
        """Add a row, each cell in as many lines as it takes. Rich's own tables take ten times as long."""
        from rich.text import Text

        parts_of = [
            [cell] if cell.cell_len <= width else wrapped(at_seams(cell, width), width, self._console)
            for cell, width in zip(cells, widths, strict=True)
        ]
        for number in range(max(map(len, parts_of))):
            line = Text(" " * indent)
            for column, width, parts in zip(columns, widths, parts_of, strict=True):
                part = parts[number] if number < len(parts) else Text()
                part.rstrip()
                blanks = " " * (width - part.cell_len)
                line.append(blanks if column.kind is Kind.NUMBER else "").append_text(part)
                line.append("" if column.kind is Kind.NUMBER else blanks).append(" " * gap)
            self._print(line)

    def _stacked(self, columns: Sequence[doc.Column], rows: Sequence[Sequence["Text"]], indent: int) -> None:
        from rich.cells import cell_len
        from rich.text import Text

        wide = max(cell_len(column.title) for column in columns)
        for row in rows:
            for place, (column, cell) in enumerate(zip(columns, row, strict=True)):
                if cell.plain:
                    margin, blanks = indent + 2 * (place > 0), wide - cell_len(column.title) + 2
                    self._flow(Text(f"{' ' * margin}{column.title}{' ' * blanks * bool(wide)}"), cell)

    def _chart(self, chart: doc.LineChart, indent: int) -> None:
        """Add a sparkline for each line, all of one scale."""
        from vqcheck.report.render.sparkline import bars_for, sparkline

        bars = bars_for(self._style.encoding)
        values = [[y for _, y in line.points] for line in chart.lines]
        top = max((value for each in values for value in each if math.isfinite(value)), default=0.0)
        wide = min(_BARS, (self._width or _PROSE) // 4)
        rows = [
            [self._rich(text) for text in (line.name, sparkline(each, wide, low=0.0, high=top, bars=bars), line.said)]
            for line, each in zip(chart.lines, values, strict=True)
        ]
        self._grid([doc.Column("", Kind.NAME), doc.Column(""), doc.Column("", Kind.PROSE)], rows, indent)

    def remedies(self, remedies: Sequence[Remedy]) -> None:
        """Add what to do, for each file by itself where there are several."""
        for of in dict.fromkeys(remedy.of for remedy in remedies):
            self.blank()
            self.hanging(
                [], [doc.Word(tr("What to do ({file})", file=of) if of else tr("What to do"), look=doc.Look.STRONG)]
            )
            self._bullets(doc.Bullets([remedy.text for remedy in remedies if remedy.of == of]), 2)
