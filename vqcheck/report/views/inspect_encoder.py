"""One VQ encoder in `vqcheck inspect`: its quantizers, its health, its tensors and digests."""

from collections.abc import Iterable, Iterator

from vqcheck.codebook.digest import F32V1, Digest
from vqcheck.codebook.family import Derivation
from vqcheck.codebook.health import Health
from vqcheck.codebook.inspection import BookSummary, EncoderSummary, TensorSummary
from vqcheck.codebook.vq_encoder import InFront
from vqcheck.report import blocks as doc
from vqcheck.report.blocks import Shown, Tone
from vqcheck.report.views.words import clauses, listed, ranges


def title(encoder: EncoderSummary) -> str:
    """Return what codec it is, where in the model, and how many codebooks."""
    count = sum(book.codebooks for book in encoder.books)
    books = "1 codebook" if count == 1 else f"{count} codebooks"
    return listed(
        (
            f"moving average of {encoder.title}" if encoder.is_shadow else encoder.title,
            books if encoder.books else "",
            f"names begin with '{encoder.prefix}'" if encoder.prefix else "",
        )
    )


def encoder_facts(encoder: EncoderSummary) -> Iterator[doc.Fact]:
    """Yield what it is and what quantizers it has."""
    yield doc.Fact("VQ encoder", title(encoder))
    why = "no known codec has these names" if encoder.structural else f"it may be {encoder.unplaced}"
    unknown = f"what is in front of the codebook is not known: {why}"
    yield doc.Fact("", doc.Word(unknown, Tone.WARNING) if encoder.in_front == InFront.UNKNOWN else None)
    yield doc.Fact("", _derivation(encoder.derivation))
    if sum(book.codebooks for book in encoder.books) > 1:
        for book in encoder.books:
            yield doc.Fact("", _book(book))


def _derivation(derivation: Derivation) -> str | None:
    return {
        Derivation.SUM_OVER_COUNT: "the codes are calculated: sum over count",
        Derivation.TRANSFORMED: "the codes are calculated: stored vectors go through a transform",
        Derivation.IMPLICIT: "the codes are a fixed grid; only the projection in front of them is stored",
    }.get(derivation)


def _book(book: BookSummary) -> str:
    said = f"{book.codebooks} x {book.codes} codes of {book.dim}"
    if book.heads > 1:
        said = f"{book.codebooks} x {book.heads} heads x {book.codes} codes of {book.dim}"
    said = listed((said, f"stored as {book.stored} (shared)" if book.stored < book.codebooks else ""))
    return f"{book.name}: {said}" if book.name else said


def health_facts(encoder: EncoderSummary) -> Iterator[doc.Fact]:
    """Yield the health of each codebook that is unfit for use, and of all others together."""
    if not encoder.is_read:
        yield doc.Fact("Health", "not known: the values were not read (--no-digests)")
        return
    well = [health for health in encoder.codebooks if health.usable]
    if len(encoder.codebooks) == 1:
        yield doc.Fact("Health", _health([encoder.codebooks[0]]))
    else:
        for places, found in _ill(encoder.codebooks):
            yield doc.Fact("Health", [f"{places}: ", *found])
        yield doc.Fact("Health", _health(well) if well else None)
    if count := encoder.projection_not_finite:
        yield doc.Fact(
            "Health", doc.Word(f"{count} values of projections that decide tokens are NaN or infinite", Tone.BAD)
        )


def _ill(books: Iterable[Health]) -> list[tuple[str, list[str | doc.Word]]]:
    """Return what ails codebooks, and which; those that differ only in the number of the layer together."""
    together: dict[tuple[str, tuple[str | doc.Word, ...]], list[str]] = {}
    for book in books:
        if not book.usable:
            before, dot, number = book.place.rpartition(".")
            together.setdefault((before + dot, tuple(_health([book]))), []).append(number)
    return [
        (before + (ranges(map(int, numbers)) if all(map(str.isdecimal, numbers)) else ", ".join(numbers)), [*found])
        for (before, found), numbers in together.items()
    ]


def _health(books: list[Health]) -> list[str | doc.Word]:
    """Return the health of some codebooks: of one, or of several that are fit for use."""
    parts: list[str | doc.Word] = []
    if any(book.never_trained for book in books):
        why = "its codes are all zero" if books[0].all_zero else "its init flag is 0"
        parts.append(doc.Word(f"NEVER TRAINED ({why}); ", Tone.BAD))
    if not_finite := sum(book.not_finite for book in books):
        parts.append(doc.Word(f"{not_finite} values are NaN or infinite; ", Tone.BAD))
    if negative := sum(book.negative for book in books):
        parts.append(doc.Word(f"BROKEN ({negative} counts are negative); ", Tone.BAD))
    elif any(book.collapsed for book in books):
        parts.append(doc.Word("COLLAPSED (nearly all frames go to a few codes); ", Tone.BAD))
    return [*parts, clauses(_use(books), _bookkeeping(books))]


def _use(books: list[Health]) -> str:
    """Return how many codes there are, and how many of them frames go to."""
    codes = sum(book.codes for book in books)
    dead = [book.dead for book in books if book.dead is not None]
    unused = [book.unused for book in books if book.unused is not None]
    if not unused:
        return f"{codes} codes"
    least = min(book.perplexity for book in books if book.perplexity is not None)
    perplexity = f"perplexity {least:.3g} or more" if len(books) > 1 else f"perplexity {least:.3g}"
    if books[0].threshold is not None:
        idle, below = sum(dead), f"{books[0].threshold:g}"
        return f"{codes} codes: {codes - idle} in use, {idle} dead (count below {below}), {perplexity}"
    idle = sum(unused)
    return f"{codes} codes: {codes - idle} in use, {idle} unused (count below a thousandth of the mean), {perplexity}"


def _bookkeeping(books: list[Health]) -> str:
    """Return whether codes follow from sums and counts; empty where they need not."""
    off = [book.rows_off for book in books if book.rows_off is not None]
    if off:
        return f"{sum(off)} codes do not fit their sums and counts" if any(off) else "sums and counts fit the codes"
    return "" if any(book.unused is not None for book in books) else "no sums and counts are stored"


def tensors(encoder: EncoderSummary) -> list[doc.Block]:
    """Return the tensors with their digests: in short, those of several layers together; and in full."""
    digests = dict(encoder.f32.tensors)
    is_long = len(encoder.codebooks) > 1
    kinds: dict[object, list[TensorSummary]] = {}
    for tensor in encoder.tensors:
        kinds.setdefault(_kind(tensor) if is_long else tensor.label, []).append(tensor)
    short: list[tuple[doc.Inline, ...]] = []
    for same in kinds.values():
        first = same[0]
        alone = len(same) == 1
        label = first.label if alone else f"{first.book} {first.label.removeprefix(first.place).strip()}".strip()
        last = f"{len(same)} tensors" if not alone else doc.code(digests[first.label].short) if encoder.is_read else ""
        short.append((label, first.dtype, _shape(first), last))
    hexes = {label: doc.code(digest.hex) if encoder.is_read else "" for label, digest in digests.items()}
    whole = [(each.label, each.dtype, _shape(each), hexes.get(each.label, "")) for each in encoder.tensors]
    columns = (doc.Column("Tensor"), doc.Column("Type"), doc.Column("Shape"), doc.Column(F32V1))
    totals = _totals(encoder)
    return [
        doc.Section(
            "Tensors",
            (
                doc.Table("", columns, [*short, *((name, "", "", doc.strong(each.short)) for name, each in totals)]),
                doc.Paragraph("-v lists every tensor." if is_long else ""),
            ),
            Shown.BRIEF,
            heading=Shown.PAGE,
        ),
        doc.Section(
            "Tensors",
            (
                doc.Table(
                    "Every tensor of the VQ encoder, and the digests of the whole.",
                    columns,
                    [*whole, *((name, "", "", doc.code(each.hex)) for name, each in totals)],
                ),
            ),
            Shown.DETAIL,
            heading=Shown.PAGE,
            folded=len(encoder.tensors) > 20,
        ),
    ]


def _totals(encoder: EncoderSummary) -> list[tuple[str, Digest]]:
    digests = encoder.f32
    whole = (
        ("codebook", digests.codebook),
        ("projection", digests.projection),
        ("vq_encoder", digests.vq_encoder),
    )
    return [(name, digest) for name, digest in whole if digest]


def _kind(tensor: TensorSummary) -> object:
    """Return what tensors of several layers have in common."""
    return tensor.book, tensor.label.removeprefix(tensor.place), tensor.dtype, tensor.shape


def _shape(tensor: TensorSummary) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
