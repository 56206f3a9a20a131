"""What a document consists of: words with a meaning, and the blocks that every format shows in its own way."""

from collections.abc import Sequence
from enum import Enum, Flag
from typing import NamedTuple


class Tone(Enum):
    """What a word means to whoever reads it; renderers turn it into a colour and a sign."""

    NEUTRAL = "neutral"
    GOOD = "good"
    BAD = "bad"
    WARNING = "warning"
    MUTED = "muted"


class Look(Enum):
    """What a word is."""

    PLAIN = "plain"
    STRONG = "strong"
    CODE = "code"
    """A digest, key, operator or number of a line: kept together."""
    PATH = "path"
    """A name out of a file or a path: a page leaves out the middle of a very long one."""
    VERDICT = "verdict"
    """A page shows its sign beside it."""
    TAG = "tag"


class Shown(Flag):
    """Where a block, a fact or a column is shown."""

    BRIEF = 1
    """In text without -v."""
    VERBOSE = 2
    """In text with -v."""
    PAGE = 4
    """In HTML."""
    TEXT = 3
    DETAIL = 6
    """Everywhere but in text without -v."""
    ALWAYS = 7


class Word(NamedTuple):
    """A part of a text with a meaning of its own."""

    text: str
    tone: Tone = Tone.NEUTRAL
    look: Look = Look.PLAIN


Inline = str | Word | Sequence[str | Word]
"""A text: words in a row, blanks between them as given."""


def words_of(text: Inline | None) -> Sequence[str | Word]:
    """Return the words of a text that say anything."""
    words = () if text is None else (text,) if isinstance(text, str | Word) else text
    return [word for word in words if (word if isinstance(word, str) else word.text)]


def verdict(word: str, tone: Tone = Tone.NEUTRAL) -> Word:
    return Word(word, tone, Look.VERDICT)


def path(name: str, tone: Tone = Tone.NEUTRAL) -> Word:
    return Word(name, tone, Look.PATH)


def code(text: str, tone: Tone = Tone.NEUTRAL) -> Word:
    return Word(text, tone, Look.CODE)


def strong(text: str, tone: Tone = Tone.NEUTRAL) -> Word:
    return Word(text, tone, Look.STRONG)


def muted(text: str) -> Word:
    return Word(text, Tone.MUTED)


def tag(word: str) -> Word:
    return Word(word, Tone.MUTED, Look.TAG)


class Paragraph(NamedTuple):
    """A few sentences."""

    text: Inline
    shown: Shown = Shown.ALWAYS


class Bullets(NamedTuple):
    """A list of sentences. Text without -v shows `most` of them, and `rest` where there are more."""

    items: Sequence[Inline]
    shown: Shown = Shown.ALWAYS
    most: int | None = None
    rest: str = ""


class Fact(NamedTuple):
    """A name and its value; one without a value is left out. Facts with an empty name continue the one above."""

    name: str
    value: Inline | None
    shown: Shown = Shown.ALWAYS


class Facts(NamedTuple):
    """Names with their values, below each other."""

    facts: Sequence[Fact]
    shown: Shown = Shown.ALWAYS


class Kind(Enum):
    """What stands in a column, and so how it is set."""

    WORD = "word"
    """Short; never broken."""
    NUMBER = "number"
    """On the right; never broken."""
    NAME = "name"
    """Of any length; broken where it must be."""
    PROSE = "prose"
    """Sentences; broken between words."""


class Column(NamedTuple):
    title: str
    kind: Kind = Kind.WORD
    shown: Shown = Shown.ALWAYS


class Table(NamedTuple):
    """Rows of as many cells as there are columns, of which the first names the row.

    The caption is for pages; a text has the heading of the section. Without any title there is no head.
    """

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Inline]]
    shown: Shown = Shown.ALWAYS
    most: int | None = None
    rest: str = ""


def numbers(*titles: str) -> tuple[Column, ...]:
    """Return columns of numbers."""
    return tuple(Column(title, Kind.NUMBER) for title in titles)


class Event(NamedTuple):
    """A place on the x axis with a name."""

    x: float
    name: str


class Line(NamedTuple):
    """A value over the steps, in order, of an arm or a run; a value that is not finite is a gap."""

    name: str
    said: str
    """What it comes to, in a few words."""
    points: Sequence[tuple[float, float]]
    event: Event | None = None
    notes: Sequence[Word] = ()
    """Words beside the name, such as a tag."""


class LineChart(NamedTuple):
    """One figure over the steps, with a line for each arm in one picture; text shows a sparkline for each."""

    title: str
    """What the picture shows; a screen reader says it instead."""
    x_title: str
    y_title: str
    lines: Sequence[Line]
    shown: Shown = Shown.PAGE


class Strip(NamedTuple):
    """One codebook in a heat map: a value for each code."""

    name: str
    values: Sequence[float]


class HeatClass(NamedTuple):
    """A line of a heat map's legend."""

    number: int
    """Of the class, as `vqcheck.report.scales` counts them."""
    name: str
    codes: int


class HeatMap(NamedTuple):
    """Every code as a field, coloured by the class that its value is in, and a legend that counts them."""

    title: str
    description: str
    strips: Sequence[Strip]
    limits: Sequence[float]
    """Upper limits of the classes, ascending; see `vqcheck.report.scales`."""
    caption: str
    """Of the legend."""
    titles: tuple[str, str]
    """Of the legend's columns: the class, and how many codes are in it."""
    classes: Sequence[HeatClass]
    shown: Shown = Shown.PAGE


class Bars(NamedTuple):
    """How many of two things (A and B) are in each class: two bars a row."""

    title: str
    description: str
    row_title: str
    count_title: str
    rows: Sequence[tuple[str, int, int]]
    legend: tuple[str, str]
    shown: Shown = Shown.PAGE


class Part(NamedTuple):
    name: str
    number: int
    tone: Tone


class Proportions(NamedTuple):
    """One bar that is divided among parts."""

    title: str
    description: str
    parts: Sequence[Part]
    shown: Shown = Shown.PAGE


class Sound(NamedTuple):
    """A wav file to listen to: its bytes, or, where they are too many, where it is."""

    name: str
    wav: bytes
    path: str = ""


class Players(NamedTuple):
    """Rows of sounds to compare, each with a name; text has none."""

    caption: str
    row_title: str
    rows: Sequence[tuple[str, Sequence[Sound]]]
    shown: Shown = Shown.PAGE


class Beside(NamedTuple):
    """Blocks that stand side by side where there is room, and below each other elsewhere."""

    blocks: Sequence["Block"]
    shown: Shown = Shown.ALWAYS


class Section(NamedTuple):
    """Blocks under a heading; a section in a section gets a smaller one."""

    title: str
    blocks: Sequence["Block"]
    shown: Shown = Shown.ALWAYS
    heading: Shown = Shown.ALWAYS
    """Where the heading is shown; elsewhere the blocks stand without it."""
    notes: Sequence[Word | str] = ()
    """Words beside the heading: a verdict, a tag."""
    folded: bool = False
    """A page shows the heading alone until somebody opens it."""


def facts(title: str, *found: Fact) -> Section:
    """Return facts under a heading that only a page shows."""
    return Section(title, (Facts(found),), heading=Shown.PAGE)


Block = Section | Beside | Paragraph | Bullets | Facts | Table | LineChart | HeatMap | Bars | Proportions | Players


def has_content(block: Block, level: Shown) -> bool:
    """Say whether text of this level, with -v or without, shows anything of a block."""
    if level not in block.shown:
        return False
    match block:
        case Section(blocks=blocks) | Beside(blocks=blocks):
            return any(has_content(each, level) for each in blocks)
        case Paragraph(text=text):
            return bool(words_of(text))
        case Bullets(items=items):
            return bool(items)
        case Facts(facts=facts):
            return any(words_of(fact.value) and level in fact.shown for fact in facts)
        case Table(rows=rows):
            return bool(rows)
        case LineChart(lines=lines):
            return bool(lines)
    return False
