"""One VQ encoder in `vqcheck inspect`: its quantizers, its health, its tensors and digests."""

from collections.abc import Iterable
from typing import Final

from vqcheck.codebook.digest import F32V1
from vqcheck.codebook.family import IMPLICIT, SUM_OVER_COUNT, TRANSFORMED
from vqcheck.codebook.health import Health
from vqcheck.codebook.inspection import BookSummary, EncoderSummary, TensorSummary
from vqcheck.report.text.page import Page, Span, Style
from vqcheck.report.words.ranges import ranges

_INDENT: Final = 14
_DERIVATIONS: Final = {
    SUM_OVER_COUNT: "codes are calculated: sum over count",
    TRANSFORMED: "codes are calculated: stored vectors through a transform",
    IMPLICIT: "codes are a fixed grid; the projection in front of it is all there is to store",
}


def title(encoder: EncoderSummary) -> str:
    """Return what codec it is, where in the model, and how many codebooks."""
    shadow = "moving average of " if encoder.is_shadow else ""
    count = sum(book.codebooks for book in encoder.books)
    books = f", {count} codebook{'s' * (count != 1)}" if encoder.books else ""
    prefix = f", names begin with '{encoder.prefix}'" if encoder.prefix else ""
    return f"{shadow}{encoder.title}{books}{prefix}"


def describe_encoder(page: Page, encoder: EncoderSummary, style: Style, number: str) -> None:
    """Add one VQ encoder to a page; `number` tells it from others of the file."""
    if number:
        page.blank()
    name = f"encoder {number}" if number else "VQ encoder"
    page.line(f"  {name:<12}", title(encoder), indent=_INDENT)
    if encoder.structural:
        page.line(
            f"  {'':<12}", ("no known codec has these names: what is in front is not known", "yellow"), indent=_INDENT
        )
    if encoder.derivation in _DERIVATIONS:
        page.line(f"  {'':<12}{_DERIVATIONS[encoder.derivation]}", indent=_INDENT)
    if sum(book.codebooks for book in encoder.books) > 1:
        for book in encoder.books:
            page.line(f"  {'':<12}{_book(book)}", indent=_INDENT)
    _health_lines(page, encoder)
    if encoder.projection_not_finite:
        words = f"{encoder.projection_not_finite} values of projections that decide tokens are NaN or infinite"
        page.line(f"  {'health':<12}", (words, "bold red"), indent=_INDENT)
    page.blank()
    _tensors(page, encoder, style)


def _book(book: BookSummary) -> str:
    heads = f"{book.heads} heads x " if book.heads > 1 else ""
    shared = f", stored as {book.stored} (shared)" if book.stored < book.codebooks else ""
    name = f"{book.name}: " if book.name else ""
    return f"{name}{book.codebooks} x {heads}{book.codes} codes of {book.dim}{shared}"


def _health_lines(page: Page, encoder: EncoderSummary) -> None:
    """Add the health of each codebook that is ill, and of all others together."""
    well = [health for health in encoder.codebooks if health.usable]
    if len(encoder.codebooks) == 1:
        page.line(f"  {'health':<12}", *_health([encoder.codebooks[0]]), indent=_INDENT)
        return
    for places, found in _ill(encoder.codebooks):
        page.line(f"  {'health':<12}{places}: ", *found, indent=_INDENT)
    if well:
        page.line(f"  {'health':<12}", *_health(well), indent=_INDENT)


def _ill(books: Iterable[Health]) -> list[tuple[str, list[Span]]]:
    """Return what ails codebooks, and which; those that differ only in the number of the layer together."""
    together: dict[tuple[str, tuple[Span, ...]], list[str]] = {}
    for book in books:
        if not book.usable:
            before, dot, number = book.place.rpartition(".")
            together.setdefault((before + dot, tuple(_health([book]))), []).append(number)
    return [
        (before + (ranges(map(int, numbers)) if all(map(str.isdecimal, numbers)) else ", ".join(numbers)), [*found])
        for (before, found), numbers in together.items()
    ]


def _health(books: list[Health]) -> list[Span]:
    """Return the health of some codebooks: of one, or of several that are well."""
    parts: list[Span] = []
    if any(book.never_trained for book in books):
        why = "its codes are all zero" if books[0].all_zero else "its init flag is 0"
        parts.append((f"NEVER TRAINED ({why}); ", "bold red"))
    if not_finite := sum(book.not_finite for book in books):
        parts.append((f"{not_finite} values are NaN or infinite; ", "bold red"))
    if negative := sum(book.negative for book in books):
        parts.append((f"BROKEN ({negative} counts are negative); ", "bold red"))
    elif any(book.collapsed for book in books):
        parts.append(("COLLAPSED (nearly all frames go to a few codes); ", "bold red"))
    return [*parts, "; ".join(filter(None, [_use(books), _bookkeeping(books)]))]


def _use(books: list[Health]) -> str:
    """Return how many codes there are, and how many of them frames go to."""
    codes = sum(book.codes for book in books)
    dead = [book.dead for book in books if book.dead is not None]
    unused = [book.unused for book in books if book.unused is not None]
    if not unused:
        return f"{codes} codes"
    if books[0].threshold is not None:
        idle, word, below = sum(dead), "dead", f"{books[0].threshold:g}"
    else:
        idle, word, below = sum(unused), "unused", "a thousandth of the mean"
    least = min(book.perplexity for book in books if book.perplexity is not None)
    perplexity = f"perplexity {least:.3g}{' or more' * (len(books) > 1)}"
    return f"{codes} codes: {codes - idle} in use, {idle} {word} (count below {below}), {perplexity}"


def _bookkeeping(books: list[Health]) -> str:
    """Return whether codes follow from sums and counts; empty where they need not."""
    off = [book.rows_off for book in books if book.rows_off is not None]
    if off:
        return f"{sum(off)} codes do not fit their sums and counts" if any(off) else "sums and counts fit the codes"
    return "" if any(book.unused is not None for book in books) else "no sums and counts stored"


def _tensors(page: Page, encoder: EncoderSummary, style: Style) -> None:
    digests = dict(encoder.f32.tensors)
    lines: list[tuple[str, str, str, str]] = []
    kinds: dict[object, list[TensorSummary]] = {}
    for tensor in encoder.tensors:
        kind = _kind(tensor) if _is_long(encoder, style) else tensor.label
        kinds.setdefault(kind, []).append(tensor)
    for same in kinds.values():
        first = same[0]
        if len(same) > 1:
            label = f"{first.book} {first.label.removeprefix(first.place).strip()}".strip()
            lines.append((label, first.dtype, _shape(first), f"{len(same)} tensors"))
        else:
            lines.append((first.label, first.dtype, _shape(first), _hex(digests[first.label], style)))
    label_width = max(len("vq_encoder"), *(len(line[0]) for line in lines))
    shape_width = max(12, *(len(line[2]) for line in lines))
    for label, dtype, shape, last in lines:
        page.line(f"    {label:<{label_width}}  {dtype:<9}  {shape:<{shape_width}}  ", (last, "dim"))
    whole = (
        ("codebook", encoder.f32.codebook),
        ("projection", encoder.f32.projection),
        ("vq_encoder", encoder.f32.vq_encoder),
    )
    for name, digest in whole:
        if digest:
            page.line(f"    {name:<{label_width}}  {'':<9}  {'':<{shape_width}}  ", (_hex(digest, style), "bold"))
    more = "; -v lists every tensor" if _is_long(encoder, style) else ""
    page.line((f"    digests are {F32V1}{more}", "dim"))


def _is_long(encoder: EncoderSummary, style: Style) -> bool:
    return len(encoder.codebooks) > 1 and not style.verbose


def _kind(tensor: TensorSummary) -> object:
    """Return what tensors of several layers have in common."""
    return tensor.book, tensor.label.removeprefix(tensor.place), tensor.dtype, tensor.shape


def _shape(tensor: TensorSummary) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _hex(digest: object, style: Style) -> str:
    return str(getattr(digest, "hex" if style.verbose else "short"))
