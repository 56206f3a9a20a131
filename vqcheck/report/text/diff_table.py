"""The table of `vqcheck diff`: every tensor with its verdict, and how far it moved."""

from vqcheck.codebook.comparison import CHANGED, Change, Comparison, Side, TensorDiff
from vqcheck.report.text.causes import headline
from vqcheck.report.text.diagnosis import prose, sections, share
from vqcheck.report.text.diff import warnings
from vqcheck.report.text.page import Page, Style, verdict


def table(comparison: Comparison, style: Style) -> str:
    """Return the full report on a comparison."""
    page = Page(style)
    for warning in warnings(comparison):
        prose(page, style, warning, indent=0, look="bold red")
    prose(page, style, _headline(comparison), verdict(comparison.verdict), "  ", indent=len(comparison.verdict) + 2)
    page.blank()
    for letter, side in (("A", comparison.a), ("B", comparison.b)):
        page.line((f"  {letter}  ", "bold"), side.path, indent=5)
        page.line("     ", (_identity(side), "dim"), indent=5)
    page.blank()
    if comparison.diagnosis:
        sections(page, style, comparison.diagnosis)
        page.blank()
        page.line(("Tensors", "bold"))
    width = max(len(diff.label) for diff in comparison.tensors)
    for diff in comparison.tensors:
        _tensor(page, diff, width)
    return page.text()


def _headline(comparison: Comparison) -> str:
    if comparison.diagnosis is None:
        return "The VQ encoder is the same."
    if comparison.verdict != CHANGED and comparison.never_trained:
        return "The two VQ encoders agree, but there is nothing in them to agree on."
    flips = comparison.diagnosis.flips
    effect = f"; {share(flips.flipped, flips.frames)} of your frames now mean another token" if flips else ""
    return f"{headline(comparison.diagnosis, comparison.a.family)}{effect}."


def _identity(side: Side) -> str:
    digests = side.digests
    whole, what = (digests.vq_encoder, "VQ encoder") if digests.vq_encoder else (digests.widest, "codebook alone")
    prefix = f", names begin with {side.prefix}" if side.prefix else ""
    return f"{side.family}, {what} {whole.algorithm} {whole.short}{prefix}"


def _tensor(page: Page, diff: TensorDiff, width: int) -> None:
    judged = "" if diff.judged else " (not judged)"
    rows = ""
    if diff.change and diff.change.rows > 1:
        rows = f"{diff.change.rows_changed} of {diff.change.rows} rows"
    a = diff.a_digest.short if diff.a_digest else "-"
    b = diff.b_digest.short if diff.b_digest else "-"
    digests = a if a == b else f"{a} > {b}"
    page.line(
        f"  {diff.label:<{width}}  ", verdict(diff.verdict, 11), f"  {rows:<19}", (digests, "dim"), judged, indent=4
    )
    if diff.verdict == "other shape":
        page.line(f"    A is {list(diff.a_shape)}, B is {list(diff.b_shape)}", indent=4)
    if diff.note:
        page.line(f"    {diff.note}", indent=4)
    if diff.change:
        page.line(f"    {_size(diff.change)}", indent=4)


def _size(change: Change) -> str:
    parts = []
    if change.max_abs:
        parts.append(f"max |b-a| {change.max_abs:.3g} at {list(change.max_abs_index)}")
    if change.max_rel:
        parts.append(f"max |b-a|/|a| {change.max_rel:.3g} at {list(change.max_rel_index)}")
    if change.not_finite:
        parts.append(f"{change.not_finite} changed values are NaN or infinite")
    return "; ".join(parts) or "only signs of zero or NaN payloads differ"
