"""Which codes moved and how often they were used before and after: pictures and tables of single codes."""

import heapq
import math
import statistics
from collections.abc import Sequence
from typing import Final

from vqcheck.codebook.diagnosis.result import CodeChanges, Diagnosis
from vqcheck.language import sentences, tr, trn
from vqcheck.report import blocks as doc
from vqcheck.report import scales
from vqcheck.report.blocks import Shown
from vqcheck.report.views.words import clauses, share

_MOST_MOVED: Final = 8
_USAGE_CLASSES: Final = 8


def code_changes(diagnoses: Sequence[Diagnosis]) -> tuple[doc.Section, ...]:
    """Return which codes moved and how often they were used, of all codebooks that changed; empty where none did."""
    several = len(diagnoses) > 1
    named = [
        (f"{diagnosis.family} " * several + (codes.name or str(codes.codebook)), codes)
        for diagnosis in diagnoses
        for codes in diagnosis.codes
    ]
    if not named:
        return ()
    return (
        doc.Section(tr("Which codes moved"), (*_heat(named), _most_moved(named)), Shown.PAGE),
        doc.Section(tr("Usage before and after"), _usage([codes for _, codes in named]), Shown.PAGE),
    )


def _heat(named: Sequence[tuple[str, CodeChanges]]) -> tuple[doc.Block, ...]:
    values = [value for _, codes in named for value in codes.moved]
    limits = scales.limits(values)
    finite = [value for value in values if 0 < value < math.inf]
    still = values.count(0.0)
    classes = [
        doc.HeatClass(scales.STILL, tr("did not move"), still),
        *(
            doc.HeatClass(number, name, codes)
            for number, (name, codes) in enumerate(
                zip(_class_names(limits), scales.counts(finite, limits), strict=True)
            )
        ),
        doc.HeatClass(scales.NOT_FINITE, tr("not finite"), len(values) - still - len(finite)),
    ]
    summary = _summary(len(named), values)
    return (
        doc.Paragraph(summary),
        doc.HeatMap(
            tr("Change of every code") if len(named) == 1 else tr("Change of every code, one line for each codebook"),
            summary,
            [doc.Strip(name, codes.moved) for name, codes in named],
            limits,
            tr("Distance moved, in the codes' own unit."),
            (tr("Moved by"), tr("Codes")),
            [each for each in classes if each.codes or 0 <= each.number < len(limits)],
        ),
    )


def _class_names(limits: Sequence[float]) -> list[str]:
    return [
        tr("{low} to {high}", low=low, high=high) if low else tr("up to {high}", high=high)
        for low, high in scales.spans(limits)
    ]


def _summary(codebooks: int, values: Sequence[float]) -> str:
    finite = sorted(value for value in values if value > 0 and math.isfinite(value))
    broken = sum(not math.isfinite(value) for value in values)
    count, codes = len(finite) + broken, trn("{number} code", "{number} codes", len(values))
    if codebooks > 1:
        codes = tr("{codes} in {codebooks} codebooks", codes=codes, codebooks=codebooks)
    return sentences(
        tr("{count} of {codes} moved ({share}).", count=count, codes=codes, share=share(count, len(values))),
        tr(
            "Half of those moved by more than {median:.3g}, the furthest by {furthest:.3g}.",
            median=statistics.median(finite),
            furthest=finite[-1],
        )
        if finite
        else "",
        tr("{broken} hold NaN or infinity.", broken=broken) if broken else "",
    )


def _most_moved(named: Sequence[tuple[str, CodeChanges]]) -> doc.Table:
    several = len(named) > 1
    found = [
        (value, name, number, codes)
        for name, codes in named
        for number, value in enumerate(codes.moved)
        if value > 0 and math.isfinite(value)
    ]
    furthest = heapq.nsmallest(_MOST_MOVED, found, key=lambda each: (-each[0], each[1], each[2]))
    rows = [
        (
            (f"{name}: " if several else "") + str(number),
            f"{value:.3g}",
            *("-" if usage is None else f"{usage[number]:.3g}" for usage in codes.usage),
        )
        for value, name, number, codes in furthest
    ]
    columns = (
        doc.Column(tr("Code")),
        *doc.numbers(tr("Moved by"), tr("Usage in A"), tr("Usage in B")),
    )
    return doc.Table(tr("The codes that moved furthest. Usage is frames a training step."), columns, rows)


def _usage(changed: Sequence[CodeChanges]) -> tuple[doc.Block, ...]:
    both = [(codes.usage[0], codes.usage[1]) for codes in changed if codes.usage[0] and codes.usage[1]]
    if not both:
        return (doc.Paragraph(tr("Not both files store how often each code is used (their EMA counts).")),)
    a = [value for before, after in both if before and after for value in before]
    b = [value for before, after in both if before and after for value in after]
    limits = scales.limits([*a, *b], _USAGE_CLASSES)
    names = ["0", *_class_names(limits), tr("not finite")]
    found = zip(names, _usage_counts(a, limits), _usage_counts(b, limits), strict=True)
    rows = [row for row in found if row[0] not in (names[0], names[-1]) or row[1] or row[2]]
    said = clauses(
        *(tr("{name}: {in_a} in A, {in_b} in B", name=name, in_a=in_a, in_b=in_b) for name, in_a, in_b in rows)
    )
    counted = trn(
        "How many codes get how many frames of a training step, by their running counts.",
        "How many codes of {number} codebooks get how many frames of a training step, by their running counts.",
        len(both),
    )
    read = tr("Codes on the first lines are hardly used. Training moves codes between the lines.")
    return (
        doc.Paragraph(sentences(counted, read)),
        doc.Bars(
            tr("Usage of the codes in A and in B"),
            tr("Codes by how many frames a step they get. {counts}.", counts=said),
            tr("frames a step"),
            tr("codes"),
            rows,
            (tr("A, upper bar"), tr("B, lower bar")),
        ),
    )


def _usage_counts(values: Sequence[float], limits: Sequence[float]) -> list[int]:
    """Return how many values are 0, in each class, and not finite."""
    used = [value for value in values if 0 < value < math.inf] if limits else []
    broken = sum(not math.isfinite(value) for value in values)
    return [len(values) - len(used) - broken, *scales.counts(used, limits), broken]
