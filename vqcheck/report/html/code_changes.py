"""Which codes moved, and how their usage changed: the pictures of `vqcheck diff`, with their numbers beside them."""

import heapq
import math
import statistics
from collections.abc import Iterator, Sequence
from typing import Final

from vqcheck.codebook.diagnosis.result import CodeChanges, Diagnosis
from vqcheck.report.html import classes, heat
from vqcheck.report.html.heat import Strip, heat_strip
from vqcheck.report.html.markup import Element, Node, element
from vqcheck.report.html.parts import paragraph, section, table
from vqcheck.report.html.usage import usage
from vqcheck.report.words.share import share

_MOST_MOVED: Final = 8


def sections(diagnoses: Sequence[Diagnosis]) -> tuple[Node, ...]:
    """Return the heat strip and the usage of all codebooks that changed; nothing where none did."""
    several = len(diagnoses) > 1
    named = [
        (f"{diagnosis.family} " * several + (codes.name or str(codes.codebook)), codes)
        for diagnosis in diagnoses
        for codes in diagnosis.codes
    ]
    return (_moved(named), _usage([codes for _, codes in named])) if named else ()


def _moved(named: Sequence[tuple[str, CodeChanges]]) -> Element:
    strips = [Strip(name, codes.moved) for name, codes in named]
    values = [value for strip in strips for value in strip.moved]
    upper = classes.limits(values)
    summary = _summary(strips, values)
    moved = [value for value in values if 0 < value < math.inf]
    still = values.count(0.0)
    counts = {heat.STILL: still} | dict(enumerate(classes.counts(moved, upper)))
    counts[heat.NOT_FINITE] = len(values) - still - len(moved)
    names = {heat.STILL: "did not move"} | dict(enumerate(classes.names(upper)))
    names[heat.NOT_FINITE] = "not finite"
    rows = [
        (element("span", heat.swatch(number, upper), name, class_="with-swatch"), str(counts[number]))
        for number, name in names.items()
        if number in range(len(upper)) or counts[number]
    ]
    strip = heat_strip(strips, upper, summary)
    caption = element("figcaption", element("span", heat.about(strips), class_="quiet"))
    return section(
        "Which codes moved",
        paragraph(summary),
        element(
            "div",
            element("figure", strip, caption),
            element(
                "div",
                table(
                    "heat-classes", "Distance moved, in the codes' own unit.", ("Moved by", "Codes"), rows, ("k", "n")
                ),
                _most_moved(named),
            ),
            class_="split",
        ),
    )


def _summary(strips: Sequence[Strip], values: Sequence[float]) -> str:
    moved = sorted(value for value in values if value > 0 and math.isfinite(value))
    broken = sum(not math.isfinite(value) for value in values)
    where = f" in {len(strips)} codebooks" if len(strips) > 1 else ""
    count = len(moved) + broken
    text = f"{count} of {len(values)} codes{where} moved ({share(count, len(values))})."
    if moved:
        text += f" Half of those moved by more than {statistics.median(moved):.3g}, the furthest by {moved[-1]:.3g}."
    if broken:
        text += f" {broken} hold NaN or infinity."
    return text


def _most_moved(named: Sequence[tuple[str, CodeChanges]]) -> Node:
    several = len(named) > 1
    found = [
        (value, name, number, codes)
        for name, codes in named
        for number, value in enumerate(codes.moved)
        if value > 0 and math.isfinite(value)
    ]
    furthest = heapq.nsmallest(_MOST_MOVED, found, key=lambda each: (-each[0], each[1], each[2]))
    rows = [
        ((f"{name}: " if several else "") + str(number), f"{value:.3g}", *_use(codes, number))
        for value, name, number, codes in furthest
    ]
    head = ("Code", "Moved by", "Usage in A", "Usage in B")
    caption = "The codes that moved furthest. Usage is frames a training step."
    return table("furthest", caption, head, rows, ("k", "n", "n", "n")) if rows else None


def _use(codes: CodeChanges, number: int) -> Iterator[str]:
    return ("-" if usage is None else f"{usage[number]:.3g}" for usage in codes.usage)


def _usage(changed: Sequence[CodeChanges]) -> Node:
    both = [(codes.usage[0], codes.usage[1]) for codes in changed if codes.usage[0] and codes.usage[1]]
    a = [value for before, after in both if before and after for value in before]
    b = [value for before, after in both if before and after for value in after]
    if not both:
        return section(
            "Usage before and after", paragraph("Not both files store how often each code is used (their EMA counts).")
        )
    drawing, rows = usage(a, b)
    legend = element("ul", _bar_key("bar-a", "A, upper bar"), _bar_key("bar-b", "B, lower bar"), class_="legend")
    where = f" of {len(both)} codebooks" if len(both) > 1 else ""
    return section(
        "Usage before and after",
        paragraph(
            "How many codes get how many frames of a training step, by their running counts. Codes on the first lines "
            "are hardly used; training moves codes between the lines."
        ),
        legend,
        element(
            "div",
            element("figure", drawing),
            table("usage-classes", f"Codes{where} by usage.", ("Frames a step", "in A", "in B"), rows, ("k", "n", "n")),
            class_="split",
        ),
    )


def _bar_key(look: str, words: str) -> Element:
    sample = element(
        "svg", element("rect", x=2, y=2, width=26, height=10, class_=look), viewBox="0 0 30 14", aria_hidden="true"
    )
    return element("li", sample, words)
