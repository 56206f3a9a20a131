"""The table of `vqcheck diff`: every tensor with its verdict, and how far it moved."""

from vqcheck.codebook.comparison import Comparison, TensorDiff
from vqcheck.report.text.diagnosis import sections
from vqcheck.report.text.diff import warnings
from vqcheck.report.text.page import Page, Style, verdict
from vqcheck.report.words import diff as words


def table(comparison: Comparison, style: Style) -> str:
    """Return the full report on a comparison."""
    page = Page(style)
    for warning in warnings(comparison):
        page.prose(warning, indent=0, look="bold red")
    headline = words.headline(comparison)
    page.prose(headline, verdict(comparison.verdict), "  ", indent=len(comparison.verdict) + 2)
    page.blank()
    for letter, side in (("A", comparison.a), ("B", comparison.b)):
        page.line((f"  {letter}  ", "bold"), side.path, indent=5)
        page.line("     ", (words.identity(side), "dim"), indent=5)
    page.blank()
    if comparison.diagnosis:
        sections(page, style, comparison.diagnosis)
        page.blank()
        page.line(("Tensors", "bold"))
    width = max(len(diff.label) for diff in comparison.tensors)
    for diff in comparison.tensors:
        _tensor(page, diff, width)
    return page.text()


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
        page.line(f"    {words.size(diff.change)}", indent=4)
