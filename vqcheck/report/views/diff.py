"""`vqcheck diff A B`: are the VQ encoders the same; if not, what changed, why, and what it does to the tokens."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vqcheck.codebook.comparison import ComparedFile, Comparison, Scope, Verdict
from vqcheck.codebook.digest import Digest
from vqcheck.codebook.family import Role
from vqcheck.codebook.health import Condition
from vqcheck.codebook.vq_encoder import InFront
from vqcheck.language import sentences, tr, word
from vqcheck.report import blocks as doc
from vqcheck.report.blocks import Shown, Tone
from vqcheck.report.document import Document, Figure, Remedy, Status
from vqcheck.report.views import copies, diff_data, tensors
from vqcheck.report.views.diff_words import headline, one_line, remarks
from vqcheck.report.views.words import all_of, described, explained, listed, of_all, share, written_at

if TYPE_CHECKING:
    from vqcheck.codebook.diagnosis.result import Advice, Diagnosis


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
        brief=one_line(comparison) if agrees else "",
        warnings=tuple(_warnings(comparison)),
        figures=tuple(_figures(comparison)),
        blocks=tuple(_blocks(comparison, shown)),
        remedies=tuple(_remedies(comparison)),
    )


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
        from vqcheck.report.views.code_changes import code_changes
        from vqcheck.report.views.diagnosis import sections

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


def _short_names(comparison: Comparison) -> tuple[str, str]:
    """Return the files' base names, or their paths where the base names are equal."""
    a, b = comparison.a.path, comparison.b.path
    base = os.path.basename(a), os.path.basename(b)
    return base if base[0] != base[1] else (a, b)
