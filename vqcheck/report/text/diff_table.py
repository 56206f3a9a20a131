"""The table of `vqcheck diff`: every tensor with its verdict, and how far it moved."""

from typing import NamedTuple

from rich.cells import cell_len

from vqcheck.codebook.comparison import OTHER_SHAPE, Comparison, TensorDiff
from vqcheck.report.text.diagnosis import sections
from vqcheck.report.text.page import Page, Style, verdict
from vqcheck.report.text.tensor_groups import Group, grouped
from vqcheck.report.text.wrap import pad
from vqcheck.report.views import copies
from vqcheck.report.words import diff as words
from vqcheck.report.words.caveats import remarks, warnings


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
    for line in copies.told(comparison):
        page.line(f"  {line}", indent=4)
    page.blank()
    if comparison.diagnosis:
        for diagnosis in (comparison.diagnosis, *comparison.further):
            sections(page, style, diagnosis, copies.of_which(diagnosis, comparison))
            page.blank()
        page.line(("Tensors", "bold"))
    for remark in remarks(comparison):
        page.prose(remark, "  ", indent=2)
    _tensors(page, comparison.tensors, style)
    return page.text()


def _tensors(page: Page, tensors: tuple[TensorDiff, ...], style: Style) -> None:
    groups = [Group(diff.label, (diff,)) for diff in tensors] if style.verbose else grouped(tensors)
    for group in groups:
        _group(page, group, _Widths.of(groups))
    if any(len(group.tensors) > 1 for group in groups):
        page.line(("  -v lists every tensor with its digest", "dim"), indent=2)


class _Widths(NamedTuple):
    label: int
    verdict: int
    rows: int
    digests: int

    @classmethod
    def of(cls, groups: list[Group]) -> "_Widths":
        columns = zip(
            *((group.label, group.tensors[0].verdict, group.rows, group.digests) for group in groups), strict=True
        )
        return cls(*(max(map(cell_len, column)) for column in columns))


def _group(page: Page, group: Group, widths: _Widths) -> None:
    first = group.tensors[0]
    judged = "" if first.judged else "  (not judged)"
    head = f"  {pad(group.label, widths.label)}  ", verdict(first.verdict, widths.verdict)
    digests = group.digests, "dim"
    whole = sum(widths) + 2 * (len(widths) - (not widths.rows)) + len(judged)
    if not page.width or whole <= page.width:
        rows = f"  {group.rows:<{widths.rows}}" if widths.rows else ""
        page.line(*head, f"{rows}  ", digests, judged, indent=4)
    elif group.rows or judged:
        page.line(*head, f"  {group.rows}" if group.rows else "", judged, indent=4)
        page.line("    ", digests, indent=4)
    else:
        page.line(*head, "  ", digests, indent=4)
    for text in _details(page, group):
        page.line(f"    {text}", indent=6)


def _details(page: Page, group: Group) -> list[str]:
    """Return what else is to be said of tensors, in lines."""
    first = group.tensors[0]
    found = []
    if first.verdict == OTHER_SHAPE:
        found.append(f"A is {list(first.a_shape)}, B is {list(first.b_shape)}")
    if first.note:
        found.append(first.note)
    if changes := [diff.change for diff in group.tensors if diff.change]:
        sizes = words.sizes(changes[0]) if len(changes) == 1 else words.greatest(changes)
        one = "; ".join(sizes)
        found += one.replace("; ", ";\n").split("\n") if page.width and len(one) + 4 > page.width else [one]
    return found
