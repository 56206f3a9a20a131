"""`vqcheck diff` for people: one line when nothing changed, otherwise what changed and by how much."""

import os

from vqcheck.codebook.comparison import Comparison

# Rich is imported only where there is more to show than one line: it takes longer than an equal diff.


def one_line(comparison: Comparison, width: int = 0) -> str:
    """Return the report on two VQ encoders that agree, without colour and without a table.

    It is one line unless the terminal has a `width` that is too narrow for it.
    """
    side = comparison.a
    digest = side.digests.vq_encoder or comparison.b.digests.vq_encoder or side.digests.widest
    what = "same VQ encoder" if not comparison.not_stored else "same as far as both store it"
    notes = []
    if comparison.not_stored:
        labels = sorted({diff.role for diff in comparison.not_stored})
        notes.append(f"{', '.join(labels)} {comparison.not_stored[0].note}")
    notes += sorted({diff.note for diff in comparison.tensors if diff.note and diff not in comparison.not_stored})
    notes += not_judged(comparison)
    if comparison.scope == "tokens":
        notes.append("bookkeeping not judged")
    note = f" ({'; '.join(notes)})" if notes else ""
    verdict = f"{comparison.verdict}  "
    lines = [*warnings(comparison), f"{verdict}{digest.algorithm} {digest.short}  {what}{note}"]
    if not width or all(line.isascii() and len(line) <= width for line in lines):
        return "".join(f"{line}\n" for line in lines)
    from vqcheck.report.text.page import Page, Style

    page = Page(Style(width=width))
    for line in lines:
        page.line(line, indent=len(verdict) if line is lines[-1] else 0)
    return page.text()


def warnings(comparison: Comparison) -> list[str]:
    """Return what must be said first, whatever the verdict."""
    names = short_names(comparison)
    lines = [
        f"WARNING: the codebook of {names[side is comparison.b]} was never trained (all zero, or its init flag is 0): "
        "every frame gets a meaningless token"
        for side in comparison.never_trained
    ]
    broken = {
        diff.label: diff.change.not_finite for diff in comparison.tensors if diff.change and diff.change.not_finite
    }
    if broken:
        where = ", ".join(f"{count} in {label}" for label, count in broken.items())
        lines.append(f"WARNING: values that changed are NaN or infinite ({where}): one of the files is damaged")
    return list(dict.fromkeys(lines))


def not_judged(comparison: Comparison) -> list[str]:
    """Return what the files hold besides, and the comparison does not cover."""
    names = short_names(comparison)
    return [
        f"not judged: {other} in {name}"
        for name, side in zip(names, (comparison.a, comparison.b), strict=True)
        for other in side.not_judged
    ]


def short_names(comparison: Comparison) -> tuple[str, str]:
    """Return the files' base names, or their paths where the base names are equal."""
    a, b = comparison.a.path, comparison.b.path
    base = os.path.basename(a), os.path.basename(b)
    return base if base[0] != base[1] else (a, b)
