"""The blocks of a document as elements of a page: sections, lists, tables, and words that carry a meaning."""

import os
import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

from vqcheck.language import localized
from vqcheck.report import blocks
from vqcheck.report import blocks as doc
from vqcheck.report.blocks import Kind, Shown, Tone
from vqcheck.report.render.html.charts import line_chart
from vqcheck.report.render.html.markup import Element, Node, element
from vqcheck.report.render.html.pictures import bars, heat_map, proportions, swatch

TONES: Final = {Tone.NEUTRAL: "", Tone.GOOD: "good", Tone.BAD: "bad", Tone.WARNING: "open", Tone.MUTED: "quiet"}
"""Classes of the style sheet."""
_SIGNS: Final = {
    Tone.GOOD: "\N{CHECK MARK}",
    Tone.BAD: "\N{BALLOT X}",
    Tone.WARNING: "?",
    Tone.MUTED: "\N{EN DASH}",
    Tone.NEUTRAL: "\N{EN DASH}",
}
_KINDS: Final = {Kind.WORD: "k", Kind.NUMBER: "n", Kind.NAME: "", Kind.PROSE: "w"}
_NAME: Final = 180
_DIGEST: Final = re.compile(r"([\w-]+:)?[0-9a-f]{64}")
_SHORT: Final = 12
"""Digits of a digest that tell it apart."""
_LONG: Final = 40
"""Rows from which on a table scrolls in a box."""


class Writer:
    """Turns blocks into elements, and gives each table and picture of a page a name of its own."""

    def __init__(self) -> None:
        self._names = 0
        self._heading = ""

    def sections(self, parts: Sequence[doc.Block]) -> Iterator[Element]:
        """Return the parts of a page, each in a frame; blocks outside sections that follow each other share one."""
        for framed, group in groupby(parts, key=lambda block: isinstance(block, doc.Section)):
            content: list[Node] = []
            for block in group:
                made = self._block(block, 2)
                if framed and made:
                    yield element("section", *made)
                content += made
            if content and not framed:
                yield element("section", *content)

    def _block(self, block: doc.Block, level: int) -> list[Node]:
        """Return the elements of a block; none where it shows nothing on a page. `level` is that of headings."""
        if Shown.PAGE not in block.shown:
            return []
        match block:
            case doc.Section():
                return self._section(block, level)
            case blocks.Beside(blocks=sides):
                made_sides = [element("div", *made) for each in sides if (made := self._block(each, level))]
                return [element("div", *made_sides, class_="pair")] if made_sides else []
            case blocks.Paragraph(text=text):
                return [element("p", *said)] if (said := nodes(text)) else []
            case blocks.Bullets(items=items):
                return [element("ul", *(element("li", *nodes(item)) for item in items))] if items else []
            case blocks.Facts():
                return self._facts(block)
            case doc.Table():
                return self._table(block) if block.rows else []
            case blocks.HeatMap():
                return [self._heat_map(block)] if block.strips else []
            case blocks.LineChart():
                return line_chart(block, self._name(), nodes) if block.lines else []
            case blocks.Bars():
                return bars(block, self._name())
            case blocks.Players():
                return self._players(block) if block.rows else []
            case blocks.Proportions():
                return [element("figure", proportions(block, self._name()))]

    def _name(self) -> str:
        self._names += 1
        return f"part{self._names}"

    def _section(self, section: doc.Section, level: int) -> list[Node]:
        has_heading = Shown.PAGE in section.heading and bool(section.title)
        self._heading = section.title or self._heading
        content = [node for block in section.blocks for node in self._block(block, level + has_heading)]
        if not content:
            return []
        heading = None
        if has_heading:
            notes = [part for note in section.notes for part in (" ", *nodes((note,)))]
            heading = element(f"h{min(level, 6)}", short(section.title), *notes)
        if section.folded and heading:
            content = [element("details", element("summary", heading), *content)]
        else:
            content = [heading, *content]
        return content if level == 2 else [element("div", *content, class_="part")]

    def _facts(self, facts: blocks.Facts) -> list[Node]:
        shown = [fact for fact in facts.facts if doc.words_of(fact.value) and Shown.PAGE in fact.shown]
        pairs = [
            each for fact in shown for each in (element("dt", fact.name), element("dd", *_foldable(fact.value or "")))
        ]
        return [element("dl", *pairs)] if pairs else []

    def _table(self, table: doc.Table) -> list[Node]:
        kept = [place for place, column in enumerate(table.columns) if Shown.PAGE in column.shown]
        columns = [table.columns[place] for place in kept]
        rows = [[_foldable(row[place]) for place in kept] for row in table.rows]
        titles = [(column.title, _KINDS[column.kind]) for column in columns]
        return [self._scrolling(table.caption or self._heading, titles, rows)]

    def _players(self, players: blocks.Players) -> list[Node]:
        names = list(dict.fromkeys(sound.name for _, sounds in players.rows for sound in sounds))
        rows: list[list[list[Node]]] = []
        for name, sounds in players.rows:
            by_name = {sound.name: sound for sound in sounds}
            players_of: list[list[Node]] = [
                [_player(f"{each}, {name}", by_name[each]) if each in by_name else None] for each in names
            ]
            rows.append([nodes(name), *players_of])
        titles = [(players.row_title, ""), *((name, "k") for name in names)]
        return [self._scrolling(players.caption, titles, rows)]

    def _scrolling(
        self, caption: str, titles: Sequence[tuple[str, str]], rows: Sequence[Sequence[Sequence[Node]]]
    ) -> Element:
        """Return a table whose first column names the rows; it scrolls inside its own box where it is too large."""
        name = f"{self._name()}-caption"
        heads = [element("th", title, scope="col", class_=kind or None) for title, kind in titles]
        return element(
            "div",
            element(
                "table",
                element("caption", element("span", caption), id=name),
                element("thead", element("tr", *heads)) if any(title for title, _ in titles) else None,
                element("tbody", *(_row(row, titles) for row in rows)),
            ),
            class_="scroll long" if len(rows) > _LONG else "scroll",
            role="region",
            tabindex="0",
            aria_labelledby=name,
        )

    def _heat_map(self, block: blocks.HeatMap) -> Element:
        picture, said = heat_map(block, self._name())
        rows = [
            (
                [element("span", swatch(each.number, block.limits), each.name, class_="with-swatch")],
                [str(each.codes)],
            )
            for each in block.classes
        ]
        return element(
            "div",
            element("figure", picture, element("figcaption", element("span", said, class_="quiet"))),
            self._scrolling(block.caption, list(zip(block.titles, "kn", strict=True)), rows),
            class_="split",
        )


def _player(said: str, sound: blocks.Sound) -> Element:
    """Return a player that has the sound in it, or a link to the file."""
    if sound.wav:
        source = f"data:audio/wav;base64,{b64encode(sound.wav).decode()}"
        return element("audio", controls="", preload="none", src=source, aria_label=said)
    return element("a", os.path.basename(sound.path), href=Path(os.path.abspath(sound.path)).as_uri())


def nodes(text: doc.Inline) -> list[Node]:
    """Return the words of a text as they look on a page."""
    return [unbroken(word) if isinstance(word, str) else _word(word) for word in doc.words_of(text)]


def _word(word: doc.Word) -> Node:
    tone = TONES[word.tone]
    match word.look:
        case doc.Look.VERDICT:
            sign = element("span", f"{_SIGNS[word.tone]}\N{NO-BREAK SPACE}", aria_hidden="true")
            return element("span", sign, word.text, class_=f"pill {tone or 'quiet'}")
        case doc.Look.TAG:
            return element("span", word.text, class_="tag")
        case doc.Look.CODE:
            return element("code", short(word.text), class_=tone or None)
        case doc.Look.PATH:
            return element("span", short(word.text), class_=f"path {tone}".rstrip())
        case doc.Look.STRONG:
            return element("b", unbroken(word.text), class_=tone or None)
    return element("span", unbroken(word.text), class_=tone) if tone else unbroken(word.text)


def _foldable(text: doc.Inline) -> list[Node]:
    """Return the words of a cell; a whole digest is shown in short, and in full to whoever opens it."""
    return [
        _digest(word.text) if isinstance(word, doc.Word) and _DIGEST.fullmatch(word.text) else node
        for word, node in zip(doc.words_of(text), nodes(text), strict=True)
    ]


def _digest(whole: str) -> Element:
    algorithm, colon, value = whole.rpartition(":")
    summary = element("summary", element("code", f"{algorithm}{colon}{value[:_SHORT]}"))
    return element("details", summary, element("code", whole), class_="digest")


def _row(cells: Sequence[Sequence[Node]], titles: Sequence[tuple[str, str]]) -> Element:
    """Return a row; a narrow page shows its cells below each other, each with the title of its column."""
    (_, kind), *others = titles
    return element(
        "tr",
        element("th", *cells[0], scope="row", class_=kind or None),
        *(
            element("td", *cell, class_=kind or None, data_title=title or None)
            for cell, (title, kind) in zip(cells[1:], others, strict=True)
        ),
    )


def unbroken(text: str) -> str:
    """Return a sentence whose shares do not lose their percent sign to the next line."""
    return localized(text).replace(" %", "\N{NO-BREAK SPACE}%")


def short(text: str) -> str:
    """Return a name without its middle where it is too long to be read: beginning and end tell names apart."""
    text = localized(text)
    return text if len(text) <= _NAME else f"{text[: _NAME // 3]} ... {text[-_NAME // 2 :]}"
