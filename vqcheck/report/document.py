"""What any result says, for every format to show: views make a `Document` of a result, renderers take nothing else.

A view is one function in `views/<command>.py`, and the only place that has words for people:

    def view(run: SomeResult) -> Document:
        moved = [file for file in run.files if file.moved]
        return Document(
            command="history",
            status=Status.INCONSISTENT if moved else Status.CONSISTENT,
            verdict=run.verdict,                              # the word that machines get, unchanged
            headline=f"the VQ encoder moved at {moved[0].name}" if moved else "the same VQ encoder in all files",
            subject=run.folder,
            cases=tuple(Case(_MOVED, file.name, ..., file.path) for file in run.files),
            data={"folder": run.folder, ...},                 # JSON, as the schema of the command has it
            figures=(Figure("files", str(len(run.files))),),
            blocks=(
                Section("What was compared", (Facts((Fact("Folder", path(run.folder)),)),), heading=Shown.PAGE),
                Section("Checkpoints", (Table("In training order.", columns, rows),)),
                Section("Every tensor", (Table(...),), shown=Shown.DETAIL, folded=True),
            ),
            remedies=(Remedy("Go back to the last checkpoint before it."),) if moved else (),
        )

Rules for views:
- A result gives one document, which does not depend on the format, on `-v` or on a terminal. What a format leaves out
  is said by `shown` on blocks, facts and columns: BRIEF is text without -v, VERBOSE text with -v, PAGE is HTML.
- A command whose good news is one line (`vqcheck diff` of equal files) gives `brief`, and blocks that are not BRIEF.
- Texts are plain `str` as they are: renderers escape them, shorten paths, break lines, choose colours and signs.
  A word that is good or bad says so by its `Tone`, never by how it is spelt. Names of files are `path(...)`, digests
  and keys `code(...)`, verdicts `verdict(word, tone)`.
- An empty text, fact, section, table or list is left out by every renderer: a view need not ask.
- Words for people are made in functions, not in constants of a module: they are going to be translated. `Rule`s and
  `data` are for machines, stay English and may be constants. One idea a sentence, the subject first.
- Where a table or list is long, `most` says how many rows text shows without -v, and `rest` what it says of the others.
- The outcomes of the cases that count agree with the status: one failed if it is 1, one could not be checked if it is
  2, and none of either if it is 0.

The parts are named tuples: this module is on the path of two equal files, and a data class takes ten times as long.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, Flag, IntEnum
from typing import Any, Final, NamedTuple


class Status(IntEnum):
    """What a run came to; the exit status of the command, the same for every format."""

    CONSISTENT = 0
    INCONSISTENT = 1
    NOT_CHECKED = 2


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


class Line(NamedTuple):
    """A value over the steps, in order; a value that is not finite is a gap."""

    points: Sequence[tuple[float, float]]
    broad: bool = False
    """Drawn broad and pale behind the thin ones."""


class Event(NamedTuple):
    """A place on the x axis with a name."""

    x: float
    name: str


class Panel(NamedTuple):
    """One chart: what it is of (an arm, a run), what it comes to in a few words, and its lines."""

    name: str
    said: str
    title: str
    """Title and description are what a screen reader says instead of the picture."""
    description: str
    lines: Sequence[Line]
    event: Event | None = None
    notes: Sequence[Word] = ()
    """Words beside the name, such as a tag."""


class LineCharts(NamedTuple):
    """Charts of one figure over the steps for several arms, on one scale. Text shows a sparkline and `said` for each.

    The sparkline is of the first line that is not broad.
    """

    x_title: str
    y_title: str
    panels: Sequence[Panel]
    shown: Shown = Shown.PAGE
    legend: tuple[str, str] = ("", "")
    """What a thin line is and what a broad one is."""


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


Block = Section | Beside | Paragraph | Bullets | Facts | Table | LineCharts | HeatMap | Bars | Proportions


class Figure(NamedTuple):
    """A key figure: one of the few numbers that say most."""

    name: str
    value: str
    tone: Tone = Tone.NEUTRAL


class Remedy(NamedTuple):
    """One thing to do, in a sentence or two."""

    text: str
    of: str = ""
    """The file, codec or copy that it is for, where there are several."""


class Rule(NamedTuple):
    """What a case is an instance of. Ids are stable: other programs remember findings by them."""

    id: str
    """`command/fault`, such as `diff/codes-changed`."""
    title: str
    """What holds where the rule is kept."""
    help: str
    """What goes wrong where it is not, and what to do."""


class CaseOutcome(str, Enum):
    PASSED = "passed"
    FAILED = "failed"
    COULD_NOT_CHECK = "could not check"
    NOT_APPLICABLE = "not applicable"
    SKIPPED = "skipped"


class Weight(Enum):
    REQUIRED = "required"
    ADVICE = "advice"
    """Only shown; does not count in the exit status."""


class Case(NamedTuple):
    """One check, carried out or not: a test case of JUnit, a result of SARIF, an annotation on GitHub."""

    rule: Rule
    name: str
    """What was checked; the same in every run, and unique among the cases of its rule."""
    outcome: CaseOutcome
    message: str
    path: str = ""
    """The file that it is about, as the user named it; empty where it is about none."""
    line: int = 0
    """The line in that file; 0 for the file as a whole."""
    weight: Weight = Weight.REQUIRED
    fix: str = ""
    """What to do in this case; empty where the help of the rule says it."""

    @property
    def is_problem(self) -> bool:
        return self.outcome in (CaseOutcome.FAILED, CaseOutcome.COULD_NOT_CHECK)

    @property
    def is_advice(self) -> bool:
        return self.weight is Weight.ADVICE


class Sheet(NamedTuple):
    """A table for spreadsheets and plots: values as they are, not words for people. None stands for an empty cell."""

    head: Sequence[str]
    rows: Sequence[Sequence[object]]


_TONES: Final = {
    Status.CONSISTENT: Tone.GOOD,
    Status.INCONSISTENT: Tone.BAD,
    Status.NOT_CHECKED: Tone.WARNING,
}


@dataclass(frozen=True)
class Document:
    """One run of a command, complete: every format shows it, or as much of it as the format has a place for."""

    command: str
    """Names the schema, too: `vqcheck/<command>/1`."""
    status: Status
    verdict: str
    headline: str
    """What the run came to, in one sentence. Text shows it behind the verdict."""
    subject: str
    """What was checked: the files or the folder."""
    cases: tuple[Case, ...]
    data: Mapping[str, Any]
    """What JSON has besides schema, version, verdict and exit code."""
    brief: str = ""
    """What text without -v says behind the verdict instead of the headline and the remedies; empty: those."""
    tone: Tone | None = None
    """Of the verdict; None: that of the status."""
    warnings: tuple[str, ...] = ()
    """What must be said before anything else."""
    figures: tuple[Figure, ...] = ()
    blocks: tuple[Block, ...] = ()
    remedies: tuple[Remedy, ...] = ()
    """What to do: under the headline of a page, at the end of a text."""
    sheet: Sheet | None = None
    """What CSV shows; None: the cases."""

    @property
    def exit_code(self) -> int:
        return int(self.status)

    @property
    def verdict_tone(self) -> Tone:
        return self.tone or _TONES[self.status]

    @property
    def title(self) -> str:
        return "vqcheck" if self.command == "vqcheck" else f"vqcheck {self.command}"
