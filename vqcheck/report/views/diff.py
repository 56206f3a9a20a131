"""`vqcheck diff A B`: are the VQ encoders the same; if not, what changed, why, and what it does to the tokens."""

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from vqcheck.codebook.comparison import EFFECTIVE, FAULTS, ComparedFile, Comparison, Scope, Verdict
from vqcheck.codebook.digest import Digest
from vqcheck.codebook.family import Role
from vqcheck.codebook.health import Condition
from vqcheck.codebook.vq_encoder import InFront
from vqcheck.report import blocks as doc
from vqcheck.report.blocks import Shown, Tone
from vqcheck.report.document import Document, Figure, Remedy, Status
from vqcheck.report.views import copies, diff_data, tensors
from vqcheck.report.views.words import all_of, clauses, effect, explained, listed, share, whole_module, written_at

if TYPE_CHECKING:
    from vqcheck.codebook.diagnosis.result import Advice, Diagnosis

_NAMED: Final = 3
"""Tensors named in a headline."""


def view(comparison: Comparison, *, details: bool = False) -> Document:
    """Return what a comparison says; of VQ encoders that agree, text says it in one line without `details` or -v."""
    agrees = (
        comparison.verdict not in (Verdict.CHANGED, Verdict.UNDECIDED) and not comparison.never_trained and not details
    )
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
    if comparison.one_file:
        return f"{_sentence(comparison)} Both names are of one file, which was compared with itself."
    return _sentence(comparison)


def _sentence(comparison: Comparison) -> str:
    if comparison.verdict == Verdict.UNDECIDED:
        return f"{copies.undecided(comparison)}."
    if comparison.diagnosis is None:
        lacking = _left_out(comparison)
        if comparison.verdict == Verdict.WITHIN_ULPS:
            return "The VQ encoders are equal but for last places of what is calculated."
        if comparison.verdict != Verdict.CHANGED and _front(comparison):
            return f"The codebook is the same; {_front(comparison)}."
        if lacking:
            return f"The VQ encoder is the same as far as both files store it ({lacking})."
        return "The VQ encoder is the same."
    if comparison.verdict != Verdict.CHANGED and comparison.never_trained:
        return "The two VQ encoders agree, but there is nothing in them to agree on."
    what = _faults(comparison) or _what_happened(comparison.diagnosis)
    which = copies.of_which(comparison.diagnosis, comparison)
    same = [copies.equal(each, comparison) for each in comparison.equal if each.a == comparison.pairs[0].a]
    said = clauses(
        f"{which}: {what}" if which else what,
        _on_tokens(comparison.diagnosis),
        *same[:1],
        _also([copies.of_which(diagnosis, comparison) for diagnosis in comparison.further]),
    )
    return f"{said}."


def _on_tokens(diagnosis: "Diagnosis") -> str:
    flips = diagnosis.flips
    if flips is None:
        return ""
    if not flips.flipped:
        return f"{effect(flips)}: none of your frames now means another token"
    return f"{effect(flips)}: {share(flips.flipped, flips.frames)} of your frames now mean another token"


def _also(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"{names[0]} differs, too"
    return f"{all_of(names)} differ, too" if names else ""


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
    absent = [diff.label for diff in faults if diff.verdict == Verdict.MISSING]
    if absent:
        return f"The two VQ encoders do not store the same tensors: only one of them has {listed(absent, _NAMED)}"
    calculated = any(diff.role == Role.CODES and diff.label.endswith(f".{EFFECTIVE}") for diff in faults)
    if calculated:
        return "The calculated codes changed: frames may get another token"
    return f"{listed([diff.label for diff in faults], _NAMED)} changed: frames may get another token"


def line(comparison: Comparison) -> str:
    """Return what two files come to in a table of many: in few words where they agree, else as the headline has it."""
    agrees = comparison.verdict not in (Verdict.CHANGED, Verdict.UNDECIDED) and not comparison.never_trained
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
    notes += ["both names are of one file, which was compared with itself"] if comparison.one_file else []
    flips = comparison.diagnosis.flips if comparison.diagnosis else None
    if flips:
        notes.append(f"{flips.flipped} of {flips.frames} frames get another token")
    if comparison.scope == Scope.TOKENS:
        notes.append("bookkeeping not judged")
    return f"{what} ({clauses(*notes)})" if notes else what


def _what(comparison: Comparison, lacking: str, in_front: str) -> str:
    """Return what two VQ encoders that agree come to; `same` is said of equal values alone."""
    if comparison.verdict == Verdict.IDENTICAL:
        if lacking:
            return "same as far as both store it"
        return "same codebook" if in_front else "same VQ encoder"
    if comparison.verdict == Verdict.WITHIN_ULPS or comparison.diagnosis is None:
        return "equal but for last places of what is calculated"
    return _what_happened(comparison.diagnosis)


def _figures(comparison: Comparison) -> Iterator[Figure]:
    changes = [diff.change for diff in comparison.tensors if diff.role == Role.CODES and diff.change]
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


def _blocks(comparison: Comparison, shown: Shown) -> Iterator[doc.Block]:
    yield _compared(comparison, shown)
    diagnoses = [each for each in (comparison.diagnosis, *comparison.further) if each]
    if diagnoses:
        from vqcheck.report.views.diagnosis import code_changes, sections

        for each in diagnoses:
            yield from sections(each, copies.of_which(each, comparison), shown)
        yield from code_changes(diagnoses)
    yield tensors.section(comparison.tensors, brief=shown & Shown.BRIEF)


def _compared(comparison: Comparison, shown: Shown) -> doc.Section:
    sides = (comparison.a, comparison.b)
    short = [
        fact
        for letter, side in zip("AB", sides, strict=True)
        for fact in (doc.Fact(letter, doc.path(side.path)), doc.Fact("", doc.muted(_identity(side))))
    ]
    trained_at = comparison.diagnosis.training if comparison.diagnosis else (None, None)
    whole = []
    for letter, side, training in zip("AB", sides, trained_at, strict=True):
        digest, what = _whole(side)
        facts = (
            doc.Fact("Path", doc.path(side.path)),
            doc.Fact("Codec", side.family),
            doc.Fact("Digest", (f"{what} ", doc.code(str(digest)))),
            doc.Fact("Names begin with", doc.code(side.prefix) if side.prefix else None),
            doc.Fact("Written at", written_at(training) if training else None),
            doc.Fact("Its own note", doc.code(training.info) if training and training.info else None),
            doc.Fact("Codebook", "never trained" if side.never_trained else None),
        )
        whole.append(doc.Section(f"File {letter}", (doc.Facts(facts),)))
    scope = doc.Fact("Scope", "bookkeeping is shown but not judged" if comparison.scope == Scope.TOKENS else None)
    others = [*copies.told(comparison), *remarks(comparison)]
    blocks = (doc.Facts(short, Shown.TEXT), doc.Beside(whole, Shown.PAGE), doc.Facts((scope,)), doc.Bullets(others))
    return doc.Section("What was compared", blocks, shown, heading=Shown.PAGE)


def _identity(side: ComparedFile) -> str:
    """Return what one file's VQ encoder is, and its digest."""
    digest, what = _whole(side)
    return listed(
        (
            side.family,
            f"{what} {digest.algorithm} {digest.short}",
            f"names begin with {side.prefix}" if side.prefix else "",
            "what is in front is not known" if side.in_front == InFront.UNKNOWN else "",
        )
    )


def _whole(side: ComparedFile) -> tuple[Digest, str]:
    """Return the widest digest that a file has, and what it covers."""
    digests = side.digests
    return (digests.vq_encoder, "VQ encoder") if digests.vq_encoder else (digests.widest, "codebook alone")


def _remedies(comparison: Comparison) -> Iterator[Remedy]:
    for each in (comparison.diagnosis, *comparison.further):
        if each:
            which = copies.of_which(each, comparison)
            yield from (Remedy(_advised(advice, each, comparison), which) for advice in each.advice)


def _advised(advice: "Advice", diagnosis: "Diagnosis", comparison: Comparison) -> str:
    """Return what to do, and which file extraction can read instead of a training file."""
    exported = (comparison.a if advice.later == "A" else comparison.b).exported
    if not advice.later or diagnosis.family != "gpt-sovits" or not exported:
        return advice.text
    return f"{advice.text} The weights exported at the step of {advice.later} are {exported}."


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
        if ailment != Condition.NOT_FINITE
        or not any(diff.change and diff.change.not_finite for diff in comparison.tensors)
    ]
    broken = {
        diff.label: diff.change.not_finite for diff in comparison.tensors if diff.change and diff.change.not_finite
    }
    if broken:
        where = listed(f"{count} in {label}" for label, count in broken.items())
        lines.append(f"WARNING: values that changed are NaN or infinite ({where}): one of the files is damaged")
    return list(dict.fromkeys(lines))


def remarks(comparison: Comparison) -> list[str]:
    """Return what decides no verdict: how far a file is to be believed, and what a rounding destroyed of no use."""
    lines: list[str] = []
    for letter, side in (("A", comparison.a), ("B", comparison.b)):
        if side.module_classes:
            lines.append(f"{letter} has {whole_module(side.module_classes)}")
        if side.missing_files:
            names = listed(side.missing_files, _NAMED)
            lines.append(f"{letter} lacks {names}; nothing of what was compared is in it")
    for loss in comparison.losses:
        codes, counts = (
            (f"unused codes of {loss.place}", f"counts of {loss.place}") if loss.place else ("unused codes", "counts")
        )
        lines += (
            [f"{loss.unused} {codes} became zero, infinite or equal to others in {loss.side}"] if loss.unused else []
        )
        lines += [f"{loss.overflowed} {counts} overflowed in {loss.side}"] if loss.overflowed else []
        lines += [f"{loss.underflowed} {counts} became zero in {loss.side}"] if loss.underflowed else []
    return lines


def _left_out(comparison: Comparison) -> str:
    """Return what one of two files does not store, and why it need not; empty where both store everything."""
    if not comparison.not_stored:
        return ""
    roles = sorted({diff.role for diff in comparison.not_stored})
    return f"{listed(roles)} {comparison.not_stored[0].note}"


def _front(comparison: Comparison) -> str:
    """Return what is not known of the layers in front of the codebook; empty where a difference there would show."""
    known = {comparison.a.in_front, comparison.b.in_front}
    if InFront.UNKNOWN in known:
        unplaced = comparison.a.unplaced or comparison.b.unplaced
        if unplaced:
            return f"what is in front of it is not known: it may be {unplaced}"
        return "what is in front of it is not known: no known codec has these names"
    return "neither file stores the projection in front of it" if known == {InFront.ABSENT} else ""


def _short_names(comparison: Comparison) -> tuple[str, str]:
    """Return the files' base names, or their paths where the base names are equal."""
    a, b = comparison.a.path, comparison.b.path
    base = os.path.basename(a), os.path.basename(b)
    return base if base[0] != base[1] else (a, b)
