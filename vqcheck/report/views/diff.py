"""`vqcheck diff A B`: are the VQ encoders the same; if not, what changed, why, and what it does to the tokens."""

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from vqcheck.codebook.comparison import (
    CHANGED,
    FAULTS,
    IDENTICAL,
    MISSING,
    TOKENS,
    UNDECIDED,
    WITHIN_ULPS,
    ComparedFile,
    Comparison,
)
from vqcheck.codebook.digest import Digest
from vqcheck.codebook.family import CODES
from vqcheck.codebook.health import NOT_FINITE
from vqcheck.codebook.judge_tensors import EFFECTIVE
from vqcheck.codebook.vq_encoder import ABSENT, UNKNOWN
from vqcheck.report.blocks import Beside, Block, Bullets, Fact, Facts, Section, Shown, Tone, code, muted, path
from vqcheck.report.document import Document, Figure, Remedy, Status
from vqcheck.report.views import copies, diff_data, tensors
from vqcheck.report.views.words import effect, explained, listed_names, share, whole_module

if TYPE_CHECKING:
    from vqcheck.codebook.diagnosis.result import Advice, Diagnosis

ONE_FILE: Final = "both names are of one file, which was compared with itself"
_NAMED: Final = 3
"""Tensors named in a headline."""


def view(comparison: Comparison, *, details: bool = False) -> Document:
    """Return what a comparison says; of VQ encoders that agree, text says it in one line without `details` or -v."""
    agrees = comparison.verdict not in (CHANGED, UNDECIDED) and not comparison.never_trained and not details
    shown = Shown.DETAIL if agrees else Shown.ALWAYS
    return Document(
        command="diff",
        status=Status(comparison.exit_code),
        verdict=comparison.verdict,
        headline=headline(comparison),
        subject=f"{comparison.a.path} and {comparison.b.path}",
        cases=tuple(diff_data.cases(comparison)),
        data=diff_data.data(comparison),
        brief=_one_line(comparison) if agrees else "",
        warnings=tuple(_warnings(comparison)),
        figures=tuple(_figures(comparison)),
        blocks=tuple(_blocks(comparison, shown)),
        remedies=tuple(_remedies(comparison)),
    )


def headline(comparison: Comparison) -> str:
    """Return what two files come to, in one sentence, or that they are one, in another."""
    itself = f" {ONE_FILE[:1].upper()}{ONE_FILE[1:]}." if comparison.one_file else ""
    return f"{_sentence(comparison)}{itself}"


def _sentence(comparison: Comparison) -> str:
    if comparison.verdict == UNDECIDED:
        return f"{copies.undecided(comparison)}."
    if comparison.diagnosis is None:
        lacking = _left_out(comparison)
        if comparison.verdict == WITHIN_ULPS:
            return "The VQ encoders are equal but for last places of what is calculated."
        if comparison.verdict != CHANGED and _front(comparison):
            return f"The codebook is the same; {_front(comparison)}."
        return f"The VQ encoder is the same{f' as far as both files store it ({lacking})' if lacking else ''}."
    if comparison.verdict != CHANGED and comparison.never_trained:
        return "The two VQ encoders agree, but there is nothing in them to agree on."
    flips = comparison.diagnosis.flips
    on_tokens = ""
    if flips:
        some = f"{share(flips.flipped, flips.frames)} of your frames now mean another token"
        some = some if flips.flipped else "none of your frames now means another token"
        on_tokens = f"; {effect(flips)}: {some}"
    what = _faults(comparison) or _what_happened(comparison.diagnosis)
    which = copies.of_which(comparison.diagnosis, comparison)
    if which:
        what = f"{which}: {what}"
    also = [copies.of_which(diagnosis, comparison) for diagnosis in comparison.further]
    same = [each for each in comparison.equal if each.a == comparison.pairs[0].a]
    if same:
        on_tokens += f"; {copies.equal(same[0])}"
    too = f"; {' and '.join(also)} differ{'s' * (len(also) == 1)}, too" if also else ""
    return f"{what}{on_tokens}{too}."


def _what_happened(diagnosis: "Diagnosis") -> str:
    # Equal files have no diagnosis, and are not to wait for its words.
    from vqcheck.report.views.causes import headline

    return headline(diagnosis)


def _faults(comparison: Comparison) -> str:
    """Return what is wrong where no cause tells: tensors that one file lacks, or values that changed."""
    from vqcheck.codebook.diagnosis.evidence import Rounding

    diagnosis = comparison.diagnosis
    faults = [diff for diff in comparison.tensors if diff.judged and diff.verdict in FAULTS]
    told = diagnosis is not None and any(not isinstance(cause.evidence, Rounding) for cause in diagnosis.causes)
    if told or not faults:
        return ""
    absent = [diff.label for diff in faults if diff.verdict == MISSING]
    if absent:
        return f"The two VQ encoders do not store the same tensors: only one of them has {_some(absent)}"
    calculated = any(diff.role == CODES and diff.label.endswith(f".{EFFECTIVE}") for diff in faults)
    what = "The calculated codes" if calculated else _some([diff.label for diff in faults])
    return f"{what} changed: frames may get another token"


def _some(labels: Sequence[str]) -> str:
    more = len(labels) - _NAMED
    return f"{', '.join(labels[:_NAMED])}{f' and {more} more' if more > 0 else ''}"


def line(comparison: Comparison) -> str:
    """Return what two files come to in a table of many: in few words where they agree, else as the headline has it."""
    agrees = comparison.verdict not in (CHANGED, UNDECIDED) and not comparison.never_trained
    return _in_few_words(comparison) if agrees else headline(comparison)


def _one_line(comparison: Comparison) -> str:
    """Return digest, and in few words what two VQ encoders that agree come to."""
    side = comparison.a
    digest = side.digests.vq_encoder or comparison.b.digests.vq_encoder or side.digests.widest
    return f"{digest.algorithm} {digest.short}  {_in_few_words(comparison)}"


def _in_few_words(comparison: Comparison) -> str:
    lacking, in_front = _left_out(comparison), _front(comparison)
    what = _what(comparison, lacking, in_front)
    notes = [note for note in (lacking, in_front) if note]
    said = {diff.note for diff in comparison.tensors if diff.note and diff not in comparison.not_stored}
    notes += sorted(note for note in said if note not in what)
    notes += copies.told(comparison)
    notes += remarks(comparison)
    notes += [ONE_FILE] if comparison.one_file else []
    flips = comparison.diagnosis.flips if comparison.diagnosis else None
    if flips:
        notes.append(f"{flips.flipped} of {flips.frames} frames get another token")
    if comparison.scope == TOKENS:
        notes.append("bookkeeping not judged")
    told = f" ({'; '.join(notes)})" if notes else ""
    return f"{what}{told}"


def _what(comparison: Comparison, lacking: str, in_front: str) -> str:
    """Return what two VQ encoders that agree come to; `same` is said of equal values alone."""
    if comparison.verdict == IDENTICAL:
        whole = "same codebook" if in_front else "same VQ encoder"
        return "same as far as both store it" if lacking else whole
    if comparison.verdict == WITHIN_ULPS or comparison.diagnosis is None:
        return "equal but for last places of what is calculated"
    return _what_happened(comparison.diagnosis)


def _figures(comparison: Comparison) -> Iterator[Figure]:
    changes = [diff.change for diff in comparison.tensors if diff.role == CODES and diff.change]
    if changes:
        changed = sum(each.rows_changed for each in changes)
        codes = sum(each.rows for each in changes)
        yield Figure("codes changed", f"{changed} of {codes}", Tone.BAD if changed else Tone.GOOD)
    diagnosis = comparison.diagnosis
    if diagnosis and diagnosis.displacement:
        furthest = max(each.median for each in diagnosis.displacement)
        yield Figure("median move, in half the distance to the nearest code", f"{furthest:.2g}")
    if diagnosis and diagnosis.flips:
        flips = diagnosis.flips
        tone = Tone.BAD if flips.flipped else Tone.GOOD
        yield Figure("frames with another token", share(flips.flipped, flips.frames), tone)


def _blocks(comparison: Comparison, shown: Shown) -> Iterator[Block]:
    yield _compared(comparison, shown)
    diagnoses = [each for each in (comparison.diagnosis, *comparison.further) if each]
    if diagnoses:
        from vqcheck.report.views.diagnosis import code_changes, sections

        for each in diagnoses:
            yield from sections(each, copies.of_which(each, comparison), shown)
        yield from code_changes(diagnoses)
    yield tensors.section(comparison.tensors, brief=shown & Shown.BRIEF)


def _compared(comparison: Comparison, shown: Shown) -> Section:
    sides = (comparison.a, comparison.b)
    short = [
        fact
        for letter, side in zip("AB", sides, strict=True)
        for fact in (Fact(letter, path(side.path)), Fact("", muted(_identity(side))))
    ]
    trained_at = comparison.diagnosis.training if comparison.diagnosis else (None, None)
    whole = []
    for letter, side, training in zip("AB", sides, trained_at, strict=True):
        digest, what = _whole(side)
        written = (("epoch", training.epoch), ("step", training.steps)) if training else ()
        facts = (
            Fact("Path", path(side.path)),
            Fact("Codec", side.family),
            Fact("Digest", (f"{what} ", code(str(digest)))),
            Fact("Names begin with", code(side.prefix) if side.prefix else None),
            Fact("Written at", ", ".join(f"{name} {value}" for name, value in written if value is not None)),
            Fact("Its own note", code(training.info) if training and training.info else None),
            Fact("Codebook", "never trained" if side.never_trained else None),
        )
        whole.append(Section(f"File {letter}", (Facts(facts),)))
    scope = Fact("Scope", "bookkeeping is shown but not judged" if comparison.scope == TOKENS else None)
    others = [*copies.told(comparison), *remarks(comparison)]
    blocks = (Facts(short, Shown.TEXT), Beside(whole, Shown.PAGE), Facts((scope,)), Bullets(others))
    return Section("What was compared", blocks, shown, heading=Shown.PAGE)


def _identity(side: ComparedFile) -> str:
    """Return what one file's VQ encoder is, and its digest."""
    digest, what = _whole(side)
    prefix = f", names begin with {side.prefix}" if side.prefix else ""
    unknown = ", what is in front is not known" if side.in_front == UNKNOWN else ""
    return f"{side.family}, {what} {digest.algorithm} {digest.short}{prefix}{unknown}"


def _whole(side: ComparedFile) -> tuple[Digest, str]:
    """Return the widest digest that a file has, and what it covers."""
    digests = side.digests
    return (digests.vq_encoder, "VQ encoder") if digests.vq_encoder else (digests.widest, "codebook alone")


def _remedies(comparison: Comparison) -> Iterator[Remedy]:
    for each in (comparison.diagnosis, *comparison.further):
        if each:
            which = copies.of_which(each, comparison)
            yield from (Remedy(f"{advice.text}{_weights(advice, each, comparison)}", which) for advice in each.advice)


def _weights(advice: "Advice", diagnosis: "Diagnosis", comparison: Comparison) -> str:
    """Return which file extraction can read instead of a training file, in words; empty where there is none."""
    if not advice.later or diagnosis.family != "gpt-sovits":
        return ""
    from vqcheck.experiment.place import exported_weights

    exported = exported_weights((comparison.a if advice.later == "A" else comparison.b).path)
    return f" The weights exported at the step of {advice.later} are {exported}." if exported else ""


def _warnings(comparison: Comparison) -> list[str]:
    """Return what must be said first."""
    names = _short_names(comparison)
    lines = [
        f"WARNING: the codebook of {names[side is comparison.b]} was never trained (all zero, or its init flag is 0): "
        "every frame gets a meaningless token"
        for side in comparison.never_trained
    ]
    lines += [
        f"WARNING: the VQ encoder of {names[side is comparison.b]} is {ailment}: {explained(ailment)}"
        for side in (comparison.a, comparison.b)
        for ailment in side.ailments
        if ailment != NOT_FINITE or not any(diff.change and diff.change.not_finite for diff in comparison.tensors)
    ]
    broken = {
        diff.label: diff.change.not_finite for diff in comparison.tensors if diff.change and diff.change.not_finite
    }
    if broken:
        where = ", ".join(f"{count} in {label}" for label, count in broken.items())
        lines.append(f"WARNING: values that changed are NaN or infinite ({where}): one of the files is damaged")
    return list(dict.fromkeys(lines))


def remarks(comparison: Comparison) -> list[str]:
    """Return what decides no verdict: how far a file is to be believed, and what a rounding destroyed of no use."""
    lines = []
    for letter, side in (("A", comparison.a), ("B", comparison.b)):
        if side.module_classes:
            lines.append(f"{letter} has {whole_module(side.module_classes)}")
        if side.missing_files:
            names = listed_names(side.missing_files)
            lines.append(f"{letter} lacks {names}; nothing of what was compared is in it")
    for loss in comparison.losses:
        where = f" of {loss.place}" if loss.place else ""
        told = (
            (loss.unused, "unused codes", "became zero, infinite or equal to others"),
            (loss.overflowed, "counts", "overflowed"),
            (loss.underflowed, "counts", "became zero"),
        )
        lines += [f"{count} {what}{where} {did} in {loss.side}" for count, what, did in told if count]
    return lines


def _left_out(comparison: Comparison) -> str:
    """Return what one of two files does not store, and why it need not; empty where both store everything."""
    if not comparison.not_stored:
        return ""
    roles = sorted({diff.role for diff in comparison.not_stored})
    return f"{', '.join(roles)} {comparison.not_stored[0].note}"


def _front(comparison: Comparison) -> str:
    """Return what is not known of the layers in front of the codebook; empty where a difference there would show."""
    known = {comparison.a.in_front, comparison.b.in_front}
    if UNKNOWN in known:
        unplaced = comparison.a.unplaced or comparison.b.unplaced
        why = f"it may be {unplaced}" if unplaced else "no known codec has these names"
        return f"what is in front of it is not known: {why}"
    return "neither file stores the projection in front of it" if known == {ABSENT} else ""


def _short_names(comparison: Comparison) -> tuple[str, str]:
    """Return the files' base names, or their paths where the base names are equal."""
    a, b = comparison.a.path, comparison.b.path
    base = os.path.basename(a), os.path.basename(b)
    return base if base[0] != base[1] else (a, b)
