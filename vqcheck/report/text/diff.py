"""`vqcheck diff` for people: one line when nothing changed, otherwise what changed and by how much."""

from vqcheck.codebook.comparison import IDENTICAL, TOKENS, WITHIN_ULPS, Comparison
from vqcheck.report.views import copies
from vqcheck.report.words.caveats import ONE_FILE, front, left_out, remarks, warnings

# Rich is imported only where there is more to show than one line: it takes longer than an equal diff.


def one_line(comparison: Comparison, width: int = 0) -> str:
    """Return the report on two VQ encoders that agree, without colour and without a table.

    It is one line unless the terminal has a `width` that is too narrow for it.
    """
    side = comparison.a
    digest = side.digests.vq_encoder or comparison.b.digests.vq_encoder or side.digests.widest
    lacking = left_out(comparison)
    in_front = front(comparison)
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


def _what(comparison: Comparison, lacking: str, in_front: str) -> str:
    """Return what two VQ encoders that agree come to; `same` is said of equal values alone."""
    if comparison.verdict == IDENTICAL:
        whole = "same codebook" if in_front else "same VQ encoder"
        return "same as far as both store it" if lacking else whole
    if comparison.verdict == WITHIN_ULPS or comparison.diagnosis is None:
        return "equal but for last places of what is calculated"
    from vqcheck.report.words.causes import headline

    return headline(comparison.diagnosis)
