"""`vqcheck diff A B`: are the VQ encoders the same; if not, what changed, why, and what it does to the tokens."""

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from vqcheck.codebook.comparison import EFFECTIVE, FAULTS, ComparedFile, Comparison, Scope, Verdict
from vqcheck.codebook.digest import Digest
from vqcheck.codebook.family import Role
from vqcheck.codebook.health import Condition
from vqcheck.codebook.vq_encoder import InFront
from vqcheck.language import sentences, tr, word
from vqcheck.report import blocks as doc
from vqcheck.report.blocks import Shown, Tone
from vqcheck.report.document import Document, Figure, Remedy, Status
from vqcheck.report.views import copies, diff_data, tensors
from vqcheck.report.views.words import (
    all_of,
    clauses,
    described,
    effect,
    explained,
    listed,
    of_all,
    sentence,
    share,
    whole_module,
    written_at,
)

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
        subject=all_of((comparison.a.path, comparison.b.path)),
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
    one = tr("Both names are of one file, which was compared with itself.") if comparison.one_file else ""
    return sentences(_sentence(comparison), one)


def _sentence(comparison: Comparison) -> str:
    if comparison.verdict == Verdict.UNDECIDED:
        return sentence(copies.undecided(comparison))
    if comparison.diagnosis is None:
        lacking = _left_out(comparison)
        if comparison.verdict == Verdict.WITHIN_ULPS:
            return tr("The VQ encoders are equal but for last places of what is calculated.")
        if comparison.verdict != Verdict.CHANGED and _front(comparison):
            return tr("The codebook is the same; {front}.", front=_front(comparison))
        if lacking:
            return tr("The VQ encoder is the same as far as both files store it ({lacking}).", lacking=lacking)
        return tr("The VQ encoder is the same.")
    if comparison.verdict != Verdict.CHANGED and comparison.never_trained:
        return tr("The two VQ encoders agree, but there is nothing in them to agree on.")
    what = _faults(comparison) or _what_happened(comparison.diagnosis)
    which = copies.of_which(comparison.diagnosis, comparison)
    same = [copies.equal(each, comparison) for each in comparison.equal if each.a == comparison.pairs[0].a]
    said = clauses(
        tr("{which}: {what}", which=which, what=what) if which else what,
        _on_tokens(comparison.diagnosis),
        *same[:1],
        _also([copies.of_which(diagnosis, comparison) for diagnosis in comparison.further]),
    )
    return sentence(said)


def _on_tokens(diagnosis: "Diagnosis") -> str:
    flips = diagnosis.flips
    if flips is None:
        return ""
    if not flips.flipped:
        return tr("{effect}: none of your frames now means another token", effect=effect(flips))
    return tr(
        "{effect}: {share} of your frames now mean another token",
        effect=effect(flips),
        share=share(flips.flipped, flips.frames),
    )


def _also(names: Sequence[str]) -> str:
    if len(names) == 1:
        return tr("{name} differs, too", name=names[0])
    return tr("{names} differ, too", names=all_of(names)) if names else ""


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
        return tr(
            "The two VQ encoders do not store the same tensors: only one of them has {tensors}",
            tensors=listed(absent, _NAMED),
        )
    calculated = any(diff.role == Role.CODES and diff.label.endswith(f".{EFFECTIVE}") for diff in faults)
    if calculated:
        return tr("The calculated codes changed: frames may get another token")
    names = listed([diff.label for diff in faults], _NAMED)
    return tr("{tensors} changed: frames may get another token", tensors=names)


def line(comparison: Comparison) -> str:
    """Return what two files come to in a table of many: in few words where they agree, else as the headline has it."""
    agrees = comparison.verdict not in (Verdict.CHANGED, Verdict.UNDECIDED) and not comparison.never_trained
    return _in_few_words(comparison) if agrees else headline(comparison)


def _one_line(comparison: Comparison) -> str:
    """Return digest, and in few words what two VQ encoders that agree come to."""
    side = comparison.a
    digest = side.digests.vq_encoder or comparison.b.digests.vq_encoder or side.digests.widest
    return tr(
        "{algorithm} {digest}  {said}", algorithm=digest.algorithm, digest=digest.short, said=_in_few_words(comparison)
    )


def _in_few_words(comparison: Comparison) -> str:
    lacking, in_front = _left_out(comparison), _front(comparison)
    what = _what(comparison, lacking, in_front)
    notes = [note for note in (lacking, in_front) if note]
    said = {diff.note for diff in comparison.tensors if diff.note and diff not in comparison.not_stored}
    notes += sorted(note for note in said if note not in what)
    notes += copies.told(comparison)
    notes += remarks(comparison)
    notes += [tr("both names are of one file, which was compared with itself")] if comparison.one_file else []
    flips = comparison.diagnosis.flips if comparison.diagnosis else None
    if flips:
        notes.append(tr("{flipped} of {frames} frames get another token", flipped=flips.flipped, frames=flips.frames))
    if comparison.scope == Scope.TOKENS:
        notes.append(tr("bookkeeping not judged"))
    return tr("{what} ({notes})", what=what, notes=clauses(*notes)) if notes else what


def _what(comparison: Comparison, lacking: str, in_front: str) -> str:
    """Return what two VQ encoders that agree come to; `same` is said of equal values alone."""
    if comparison.verdict == Verdict.IDENTICAL:
        if lacking:
            return tr("same as far as both store it")
        return tr("same codebook") if in_front else tr("same VQ encoder")
    if comparison.verdict == Verdict.WITHIN_ULPS or comparison.diagnosis is None:
        return tr("equal but for last places of what is calculated")
    return _what_happened(comparison.diagnosis)


def _figures(comparison: Comparison) -> Iterator[Figure]:
    changes = [diff.change for diff in comparison.tensors if diff.role == Role.CODES and diff.change]
    if changes:
        changed = sum(each.rows_changed for each in changes)
        codes = sum(each.rows for each in changes)
        yield Figure(tr("codes changed"), of_all(changed, codes), Tone.BAD if changed else Tone.GOOD)
    diagnosis = comparison.diagnosis
    if diagnosis and diagnosis.displacement:
        furthest = max(each.median for each in diagnosis.displacement)
        yield Figure(tr("median move, in half the distance to the nearest code"), f"{furthest:.2g}")
    if diagnosis and diagnosis.flips:
        flips = diagnosis.flips
        tone = Tone.BAD if flips.flipped else Tone.GOOD
        yield Figure(tr("frames with another token"), share(flips.flipped, flips.frames), tone)


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
            doc.Fact(tr("Path"), doc.path(side.path)),
            doc.Fact(tr("Codec"), side.family),
            doc.Fact(tr("Digest"), (what, " ", doc.code(str(digest)))),
            doc.Fact(tr("Names begin with"), doc.code(side.prefix) if side.prefix else None),
            doc.Fact(tr("Written at"), written_at(training) if training else None),
            doc.Fact(tr("Its own note"), doc.code(training.info) if training and training.info else None),
            doc.Fact(tr("Codebook"), tr("never trained") if side.never_trained else None),
        )
        whole.append(doc.Section(tr("File {letter}", letter=letter), (doc.Facts(facts),)))
    scope = doc.Fact(
        tr("Scope"), tr("bookkeeping is shown but not judged") if comparison.scope == Scope.TOKENS else None
    )
    others = [*copies.told(comparison), *remarks(comparison)]
    blocks = (doc.Facts(short, Shown.TEXT), doc.Beside(whole, Shown.PAGE), doc.Facts((scope,)), doc.Bullets(others))
    return doc.Section(tr("What was compared"), blocks, shown, heading=Shown.PAGE)


def _identity(side: ComparedFile) -> str:
    """Return what one file's VQ encoder is, and its digest."""
    digest, what = _whole(side)
    return described(
        side.family,
        tr("{what} {algorithm} {digest}", what=what, algorithm=digest.algorithm, digest=digest.short),
        tr("names begin with {prefix}", prefix=side.prefix) if side.prefix else "",
        tr("what is in front is not known") if side.in_front == InFront.UNKNOWN else "",
    )


def _whole(side: ComparedFile) -> tuple[Digest, str]:
    """Return the widest digest that a file has, and what it covers."""
    digests = side.digests
    return (digests.vq_encoder, tr("VQ encoder")) if digests.vq_encoder else (digests.widest, tr("codebook alone"))


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
    weights = tr("The weights exported at the step of {later} are {exported}.", later=advice.later, exported=exported)
    return sentences(advice.text, weights)


def _warnings(comparison: Comparison) -> list[str]:
    """Return what must be said first."""
    names = _short_names(comparison)
    lines = [
        tr(
            "WARNING: the codebook of {file} was never trained (all zero, or its init flag is "
            "0): every frame gets a meaningless token",
            file=names[side is comparison.b],
        )
        for side in comparison.never_trained
    ]
    lines += [
        tr(
            "WARNING: the VQ encoder of {file} is {ailment}: {explained}",
            file=names[side is comparison.b],
            ailment=word(ailment),
            explained=explained(ailment),
        )
        for side in (comparison.a, comparison.b)
        for ailment in side.ailments
        if ailment != Condition.NOT_FINITE
        or not any(diff.change and diff.change.not_finite for diff in comparison.tensors)
    ]
    broken = {
        diff.label: diff.change.not_finite for diff in comparison.tensors if diff.change and diff.change.not_finite
    }
    if broken:
        where = listed(tr("{count} in {label}", count=count, label=label) for label, count in broken.items())
        lines.append(
            tr("WARNING: values that changed are NaN or infinite ({where}): one of the files is damaged", where=where)
        )
    return list(dict.fromkeys(lines))


def remarks(comparison: Comparison) -> list[str]:
    """Return what decides no verdict: how far a file is to be believed, and what a rounding destroyed of no use."""
    lines: list[str] = []
    for letter, side in (("A", comparison.a), ("B", comparison.b)):
        if side.module_classes:
            lines.append(tr("{file} has {values}", file=letter, values=whole_module(side.module_classes)))
        if side.missing_files:
            names = listed(side.missing_files, _NAMED)
            lines.append(tr("{file} lacks {names}; nothing of what was compared is in it", file=letter, names=names))
    for loss in comparison.losses:
        codes, counts = (
            (tr("unused codes of {place}", place=loss.place), tr("counts of {place}", place=loss.place))
            if loss.place
            else (tr("unused codes"), tr("counts"))
        )
        found = (
            (
                loss.unused,
                tr(
                    "{number} {codes} became zero, infinite or equal to others in {file}",
                    number=loss.unused,
                    codes=codes,
                    file=loss.side,
                ),
            ),
            (
                loss.overflowed,
                tr("{number} {counts} overflowed in {file}", number=loss.overflowed, counts=counts, file=loss.side),
            ),
            (
                loss.underflowed,
                tr("{number} {counts} became zero in {file}", number=loss.underflowed, counts=counts, file=loss.side),
            ),
        )
        lines += [said for number, said in found if number]
    return lines


def _left_out(comparison: Comparison) -> str:
    """Return what one of two files does not store, and why it need not; empty where both store everything."""
    if not comparison.not_stored:
        return ""
    roles = sorted({diff.role for diff in comparison.not_stored})
    return tr("{tensors} {note}", tensors=listed(roles), note=comparison.not_stored[0].note)


def _front(comparison: Comparison) -> str:
    """Return what is not known of the layers in front of the codebook; empty where a difference there would show."""
    known = {comparison.a.in_front, comparison.b.in_front}
    if InFront.UNKNOWN in known:
        unplaced = comparison.a.unplaced or comparison.b.unplaced
        if unplaced:
            return tr("what is in front of it is not known: it may be {unplaced}", unplaced=unplaced)
        return tr("what is in front of it is not known: no known codec has these names")
    return tr("neither file stores the projection in front of it") if known == {InFront.ABSENT} else ""


def _short_names(comparison: Comparison) -> tuple[str, str]:
    """Return the files' base names, or their paths where the base names are equal."""
    a, b = comparison.a.path, comparison.b.path
    base = os.path.basename(a), os.path.basename(b)
    return base if base[0] != base[1] else (a, b)
