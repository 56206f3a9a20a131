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
                doc.facts("What was compared", doc.Fact("Folder", doc.path(run.folder))),
                doc.Section("Checkpoints", (doc.Table("In training order.", columns, rows),)),
                doc.Section("Every tensor", (doc.Table(...),), shown=Shown.DETAIL, folded=True),
            ),
            remedies=(Remedy("Go back to the last checkpoint before it."),) if moved else (),
        )

Rules for views:
- A view looks at its result alone, never at the disk: it is called once for machines and once for people, in any order.
  Whoever makes the result looks, and hands on what it saw as a field.
- A result gives one document, which does not depend on the format, on `-v` or on a terminal. What a format leaves out
  is said by `shown` on blocks, facts and columns: BRIEF is text without -v, VERBOSE text with -v, PAGE is HTML.
- A command whose good news is one line (`vqcheck diff` of equal files) gives `brief`, and blocks that are not BRIEF.
- Texts are plain `str` as they are: renderers escape them, shorten paths, break lines, choose colours and signs.
  A word that is good or bad says so by its `Tone`, never by how it is spelt. Names of files are `doc.path(...)`,
  digests and keys `doc.code(...)`, verdicts `doc.verdict(word, tone)`.
- An empty text, fact, section, table or list is left out by every renderer: a view need not ask.
- Words for people are `tr("...")` and its siblings of `vqcheck.language`, which has the rules. `Rule`s and `data` are
  for machines and stay English. One idea a sentence, the subject first. A sentence is whole where it stands, with
  fields in it. Names are joined by `listed`, what can stand by itself by `clauses`.
- Where a table or list is long, `most` says how many rows text shows without -v, and `rest` what it says of the others.
- The outcomes of the cases that count agree with the status: one failed if it is 1, one could not be checked if it is
  2, and none of either if it is 0.

The parts are named tuples: they are on the path of two equal files, and a data class takes ten times as long to make.
"""

from collections.abc import Mapping, Sequence
from enum import Enum, IntEnum
from typing import Any, Final, NamedTuple

from vqcheck import __version__
from vqcheck.language import word
from vqcheck.quick_dataclass import quick_dataclass
from vqcheck.report import blocks as doc
from vqcheck.report.blocks import Tone
from vqcheck.word_enum import WordEnum


class Status(IntEnum):
    """What a run came to; the exit status of the command, the same for every format."""

    CONSISTENT = 0
    INCONSISTENT = 1
    NOT_CHECKED = 2


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


class CaseOutcome(WordEnum):
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

    @property
    def whole(self) -> str:
        """The message, and what to do."""
        stop = "" if self.message.endswith((".", "!", "?")) else "."
        return f"{self.message}{stop} {self.fix}" if self.fix else self.message


class Sheet(NamedTuple):
    """A table for spreadsheets and plots: values as they are, not words for people. None stands for an empty cell."""

    head: Sequence[str]
    rows: Sequence[Sequence[object]]


_TONES: Final = {
    Status.CONSISTENT: Tone.GOOD,
    Status.INCONSISTENT: Tone.BAD,
    Status.NOT_CHECKED: Tone.WARNING,
}


@quick_dataclass(frozen=True)
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
    blocks: tuple[doc.Block, ...] = ()
    remedies: tuple[Remedy, ...] = ()
    """What to do: under the headline of a page, at the end of a text."""
    sheet: Sheet | None = None
    """What CSV shows; None: the cases."""
    made_by: str = ""
    """The command line, which stands at the end of a page."""

    @property
    def exit_code(self) -> int:
        return int(self.status)

    @property
    def verdict_word(self) -> str:
        """The verdict, for people."""
        return word(self.verdict)

    @property
    def verdict_tone(self) -> Tone:
        return self.tone or _TONES[self.status]

    def as_object(self) -> dict[str, Any]:
        """Return what JSON shows: schema, version, verdict and exit code, and the data."""
        head = {
            "schema": f"vqcheck/{self.command}/1",
            "vqcheck": __version__,
            "verdict": self.verdict,
            "exit_code": self.exit_code,
        }
        return head | dict(self.data)

    @property
    def title(self) -> str:
        return "vqcheck" if self.command == "vqcheck" else f"vqcheck {self.command}"
