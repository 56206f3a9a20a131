"""What several views say in the same way: shares, numbers in a row, and a rule that more than one command looks at."""

import math
import os
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Final

from vqcheck import language
from vqcheck.codebook.file_record import FileKind
from vqcheck.codebook.health import Condition
from vqcheck.language import Sentence, tr, trc, trn, word
from vqcheck.report.document import Rule

if TYPE_CHECKING:
    from vqcheck.codebook.diagnosis.result import TokenFlips
    from vqcheck.codebook.model import Training

_MOST_NAMES: Final = 5
"""Names of files or classes that are listed."""


def share(part: int, whole: int) -> str:
    """Return a share in percent with as many digits as it needs; neither 0 % nor 100 % unless it is exactly that."""
    percent = 100 * part / whole
    if part in (0, whole):
        return f"{percent:.0f} %"
    if percent > 99:
        return f"{min(percent, 99.99):.2f} %" if percent > 99.5 else f"{percent:.1f} %"
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.1f} %" if percent >= 0.1 else f"{percent:.2g} %"


def effect(flips: "TokenFlips") -> str:
    """Return what a drift does to the tokens in two words, which stand in front of the numbers."""
    return tr("{severity} effect", severity=word(flips.severity)) if flips.flipped else tr("no effect")


def listed(names: Iterable[object], most: int | None = None) -> str:
    """Return names in a row, of more than `most` only the first; None for all. Those that are empty are left out."""
    # A sentence of which `str` makes another text stays English.
    found = [text for each in names if (text := each if isinstance(each, Sentence) else str(each))]
    row = language.listed(found[:most], last="")
    left = len(found) - most if most is not None else 0
    return tr("{names} and {left} more", names=row, left=left) if left > 0 else row


def described(*parts: str) -> str:
    """Return what is said of one thing in a row, not a list of things; what is empty is left out."""
    said, *others = [part for part in parts if part] or [""]
    return trc("description", "{first}, {rest}", first=said, rest=described(*others)) if others else said


def all_of(names: Iterable[str]) -> str:
    """Return a few names of which the same is true."""
    first, *others = names
    return tr("{first} and {second}", first=first, second=all_of(others)) if others else first


def clauses(*parts: str) -> str:
    """Return in one line what can be said by itself; what is empty is left out."""
    said = [part for part in parts if part]
    if len(said) > 1:
        half = len(said) // 2
        return tr("{clause}; {next}", clause=clauses(*said[:half]), next=clauses(*said[half:]))
    return said[0] if said else ""


def sentence(clause: str) -> str:
    """Return a clause with its full stop."""
    return tr("{clause}.", clause=clause)


def of_all(part: int, whole: int) -> str:
    return tr("{part} of {whole}", part=part, whole=whole)


def types(dtypes: str) -> str:
    """Return the types that values were rounded to, of which a result names two as `float16 and bfloat16`."""
    return all_of(dtypes.split(" and "))


def roughly(number: str, precision: str) -> str:
    """Return a number of updates, and how well it is known: `about 37 updates`."""
    if precision == "about":
        return tr("about {number}", number=number)
    return tr("at least {number}", number=number) if precision == "at least" else number


def updates(steps: int) -> str:
    return trn("{number} update", "{number} updates", steps)


def written_at(training: "Training") -> str:
    """Return what a file says of the epoch and step it was written at; empty where it says neither."""
    return listed(
        (
            "" if training.epoch is None else tr("epoch {epoch}", epoch=training.epoch),
            "" if training.steps is None else tr("step {steps}", steps=training.steps),
        )
    )


def number(value: float) -> str:
    """Return a figure with three digits, and a word where it is not finite."""
    if not math.isfinite(value):
        return tr("not finite")
    if value == 0:
        return "0"
    return f"{value:.3f}" if 0.001 <= value < 100 else f"{value:.3g}"


def ranges(numbers: Iterable[int]) -> str:
    """Return ascending numbers in short: `0..3, 5`."""
    runs = [[number for _, number in run] for _, run in groupby(enumerate(numbers), key=lambda each: each[1] - each[0])]
    return ", ".join(f"{run[0]}" if len(run) == 1 else f"{run[0]}..{run[-1]}" for run in runs)


def extract_again(path: str, exported: str | None) -> str:
    """Return how to make tokens with a checkpoint: upstream extracts them with exported weights, not with a G_*.pth.

    `exported` are those of a training file, where they were found.
    """
    from vqcheck.experiment.layout import is_training_file

    name = os.path.basename(path)
    if not is_training_file(path):
        return tr("Extract the tokens again with {name}. Then train s1 again on them.", name=name)
    if exported:
        return tr(
            "Extraction cannot read {name}. Extract the tokens again with {exported}, the weights "
            "exported at its step. Then train s1 again on them.",
            name=name,
            exported=exported,
        )
    return tr(
        "Extraction cannot read {name}. Extract the tokens again with the weights exported at "
        "its step. Then train s1 again on them.",
        name=name,
    )


def trained(command: str) -> Rule:
    """Return the rule that a codebook was trained, under a command's own id."""
    return Rule(
        f"{command}/never-trained",
        "the codebook was trained",
        "A codebook that still waits for its first batch gives tokens that mean nothing. Use a published base model.",
    )


def argument(name: str) -> str:
    """Return a path as it can be typed into a command, in every shell."""
    return f'"{name}"' if any(char.isspace() for char in name) else name


def kind_of_file(kind: FileKind) -> str:
    """Return what a file shows itself to be; empty where it says nothing of that."""
    return {
        FileKind.BASE: tr("base model"),
        FileKind.TRAINING: tr("training file"),
        FileKind.EXPORT: tr("export of a run"),
        FileKind.STEP: tr("weights of one step of a run"),
    }.get(kind, "")


def version_words(version: str) -> str:
    """Return a model's version, where its tensors do not say which of two: `v3 or v4`, or `v2 or later`."""
    first, either, last = version.partition(" or ")
    if last == "later":
        return tr("{version} or later", version=first)
    return language.listed((first, last), last="or") if either else version


def unfit_rule(command: str) -> Rule:
    """Return the rule that a VQ encoder is fit for use, under a command's own id."""
    return Rule(
        f"{command}/unfit",
        "the VQ encoder is fit for use",
        "Its values are NaN or infinite, its counts cannot be true, or nearly all frames go to a few codes. Its tokens "
        "are worth little. Use another copy of the file, or an earlier checkpoint.",
    )


def explained(ailment: str) -> str:
    """Return what an ailment means, in a sentence without its full stop."""
    meanings: dict[str, str] = {
        Condition.NEVER_TRAINED: tr("it is all zero, or its init flag is 0"),
        Condition.NOT_FINITE: tr("it holds NaN or infinity"),
        Condition.BROKEN: tr("some counts are negative"),
        Condition.COLLAPSED: tr("nearly all frames go to a few of its codes"),
    }
    return meanings[ailment]


def warning(name: str, ailment: str) -> str:
    """Return what must be said first of a file whose VQ encoder is unfit for use."""
    if ailment == Condition.NEVER_TRAINED:
        return tr("the codebook of {name} was never trained: {explained}", name=name, explained=explained(ailment))
    return tr(
        "the VQ encoder of {name} is {ailment}: {explained}",
        name=name,
        ailment=word(ailment),
        explained=explained(ailment),
    )


def short_names(paths: Sequence[str]) -> list[str]:
    """Return what the paths differ in: the folder that all lie in is left out."""
    folders = {os.path.dirname(each) for each in paths}
    if len(folders) == 1:
        return [os.path.basename(each) for each in paths]
    try:
        common = os.path.commonpath(folders)
    except ValueError:  # another drive, or some from here and some from the root
        return list(paths)
    return [os.path.relpath(each, common) if common else each for each in paths]


def whole_module(classes: Sequence[str]) -> str:
    """Return what is to be known of values that a module holds which was saved whole."""
    return tr(
        "values of a module that was saved whole; when it is loaded, code of {names} may change them",
        names=listed(classes, _MOST_NAMES),
    )
