"""`vqcheck diff` for people: one line when nothing changed, otherwise what changed and by how much."""

from vqcheck.codebook.comparison import TOKENS, Comparison
from vqcheck.report.words.caveats import ONE_FILE, left_out, not_judged, warnings

# Rich is imported only where there is more to show than one line: it takes longer than an equal diff.


def one_line(comparison: Comparison, width: int = 0) -> str:
    """Return the report on two VQ encoders that agree, without colour and without a table.

    It is one line unless the terminal has a `width` that is too narrow for it.
    """
    side = comparison.a
    digest = side.digests.vq_encoder or comparison.b.digests.vq_encoder or side.digests.widest
    lacking = left_out(comparison)
    what = "same as far as both store it" if lacking else "same VQ encoder"
    notes = [lacking] if lacking else []
    notes += sorted({diff.note for diff in comparison.tensors if diff.note and diff not in comparison.not_stored})
    notes += not_judged(comparison)
    notes += [ONE_FILE] if comparison.one_file else []
    flips = comparison.diagnosis.flips if comparison.diagnosis else None
    if flips:
        notes.append(f"{flips.flipped} of {flips.frames} frames get another token")
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
