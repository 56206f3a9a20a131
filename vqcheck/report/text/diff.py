"""`vqcheck diff` for people: one line when nothing changed, otherwise what changed and by how much."""

from vqcheck.codebook.comparison import TOKENS, Comparison
from vqcheck.report.words.caveats import not_judged, warnings

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
    if comparison.scope == TOKENS:
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
