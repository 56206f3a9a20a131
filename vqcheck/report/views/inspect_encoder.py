"""One VQ encoder in `vqcheck inspect`: its quantizers, its health, its tensors and digests."""

from collections.abc import Iterable, Iterator

from vqcheck.codebook.digest import F32V1, Digest
from vqcheck.codebook.family import Derivation
from vqcheck.codebook.health import Health
from vqcheck.codebook.inspection_result import BookSummary, EncoderSummary, TensorSummary
from vqcheck.codebook.vq_encoder import InFront
from vqcheck.language import tr, trc, trn
from vqcheck.report import blocks as doc
from vqcheck.report.blocks import Shown, Tone
from vqcheck.report.views.words import clauses, described, ranges


def title(encoder: EncoderSummary) -> str:
    """Return what codec it is, where in the model, and how many codebooks."""
    count = sum(book.codebooks for book in encoder.books)
    books = trn("{number} codebook", "{number} codebooks", count)
    return described(
        tr("moving average of {title}", title=encoder.title) if encoder.is_shadow else encoder.title,
        books if encoder.books else "",
        tr("names begin with '{prefix}'", prefix=encoder.prefix) if encoder.prefix else "",
    )


def encoder_facts(encoder: EncoderSummary) -> Iterator[doc.Fact]:
    """Yield what it is and what quantizers it has."""
    yield doc.Fact(tr("VQ encoder"), title(encoder))
    why = (
        tr("no known codec has these names")
        if encoder.structural
        else tr("it may be {module}", module=encoder.unplaced)
    )
    unknown = tr("what is in front of the codebook is not known: {why}", why=why)
    yield doc.Fact("", doc.Word(unknown, Tone.WARNING) if encoder.in_front == InFront.UNKNOWN else None)
    yield doc.Fact("", _derivation(encoder.derivation))
    if sum(book.codebooks for book in encoder.books) > 1:
        for book in encoder.books:
            yield doc.Fact("", _book(book))


def _derivation(derivation: Derivation) -> str | None:
    return {
        Derivation.SUM_OVER_COUNT: tr("the codes are calculated: sum over count"),
        Derivation.TRANSFORMED: tr("the codes are calculated: stored vectors go through a transform"),
        Derivation.IMPLICIT: tr("the codes are a fixed grid; only the projection in front of them is stored"),
    }.get(derivation)


def _book(book: BookSummary) -> str:
    said = tr("{codebooks} x {codes} codes of {dim}", codebooks=book.codebooks, codes=book.codes, dim=book.dim)
    if book.heads > 1:
        said = tr(
            "{codebooks} x {heads} heads x {codes} codes of {dim}",
            codebooks=book.codebooks,
            heads=book.heads,
            codes=book.codes,
            dim=book.dim,
        )
    said = described(
        said, tr("stored as {stored} (shared)", stored=book.stored) if book.stored < book.codebooks else ""
    )
    return trc("heading", "{name}: {text}", name=book.name, text=said) if book.name else said


def health_facts(encoder: EncoderSummary) -> Iterator[doc.Fact]:
    """Yield the health of each codebook that is unfit for use, and of all others together."""
    if not encoder.is_read:
        yield doc.Fact(tr("Health"), tr("not known: the values were not read (--no-digests)"))
        return
    well = [health for health in encoder.codebooks if health.usable]
    if len(encoder.codebooks) == 1:
        yield doc.Fact(tr("Health"), _health([encoder.codebooks[0]]))
    else:
        for places, found in _ill(encoder.codebooks):
            yield doc.Fact(tr("Health"), [f"{places}: ", *found])
        yield doc.Fact(tr("Health"), _health(well) if well else None)
    if count := encoder.projection_not_finite:
        yield doc.Fact(
            tr("Health"),
            doc.Word(
                trn(
                    "{number} value of projections that decide tokens is NaN or infinite",
                    "{number} values of projections that decide tokens are NaN or infinite",
                    count,
                ),
                Tone.BAD,
            ),
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
        why = tr("its codes are all zero") if books[0].all_zero else tr("its init flag is 0")
        parts.append(doc.Word(tr("NEVER TRAINED ({why}); ", why=why), Tone.BAD))
    if not_finite := sum(book.not_finite for book in books):
        parts.append(
            doc.Word(
                trn("{number} value is NaN or infinite; ", "{number} values are NaN or infinite; ", not_finite),
                Tone.BAD,
            )
        )
    if negative := sum(book.negative for book in books):
        parts.append(
            doc.Word(
                trn("BROKEN ({number} count is negative); ", "BROKEN ({number} counts are negative); ", negative),
                Tone.BAD,
            )
        )
    elif any(book.collapsed for book in books):
        parts.append(doc.Word(tr("COLLAPSED (nearly all frames go to a few codes); "), Tone.BAD))
    return [*parts, clauses(_use(books), _bookkeeping(books))]


def _use(books: list[Health]) -> str:
    """Return how many codes there are, and how many of them frames go to."""
    codes = sum(book.codes for book in books)
    dead = [book.dead for book in books if book.dead is not None]
    unused = [book.unused for book in books if book.unused is not None]
    if not unused:
        return tr("{codes} codes", codes=codes)
    least = min(book.perplexity for book in books if book.perplexity is not None)
    perplexity = (
        tr("perplexity {least:.3g} or more", least=least)
        if len(books) > 1
        else tr("perplexity {least:.3g}", least=least)
    )
    if books[0].threshold is not None:
        idle, below = sum(dead), f"{books[0].threshold:g}"
        return tr(
            "{codes} codes: {used} in use, {idle} dead (count below {below}), {perplexity}",
            codes=codes,
            used=codes - idle,
            idle=idle,
            below=below,
            perplexity=perplexity,
        )
    idle = sum(unused)
    return tr(
        "{codes} codes: {used} in use, {idle} unused (count below a thousandth of the mean), {perplexity}",
        codes=codes,
        used=codes - idle,
        idle=idle,
        perplexity=perplexity,
    )


def _bookkeeping(books: list[Health]) -> str:
    """Return whether codes follow from sums and counts; empty where they need not."""
    off = [book.rows_off for book in books if book.rows_off is not None]
    if off:
        return (
            trn(
                "{number} code does not fit its sum and count",
                "{number} codes do not fit their sums and counts",
                sum(off),
            )
            if any(off)
            else tr("sums and counts fit the codes")
        )
    return "" if any(book.unused is not None for book in books) else tr("no sums and counts are stored")


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
        last: doc.Inline = tr("{number} tensors", number=len(same))
        if alone:
            last = doc.code(digests[first.label].short) if encoder.is_read else ""
        short.append((label, first.dtype, _shape(first), last))
    hexes = {label: doc.code(digest.hex) if encoder.is_read else "" for label, digest in digests.items()}
    whole = [(each.label, each.dtype, _shape(each), hexes.get(each.label, "")) for each in encoder.tensors]
    columns = (doc.Column(tr("Tensor")), doc.Column(tr("Type")), doc.Column(tr("Shape")), doc.Column(F32V1))
    totals = _totals(encoder)
    return [
        doc.Section(
            tr("Tensors"),
            (
                doc.Table("", columns, [*short, *((name, "", "", doc.strong(each.short)) for name, each in totals)]),
                doc.Paragraph(tr("-v lists every tensor.") if is_long else ""),
            ),
            Shown.BRIEF,
            heading=Shown.PAGE,
        ),
        doc.Section(
            tr("Tensors"),
            (
                doc.Table(
                    tr("Every tensor of the VQ encoder, and the digests of the whole."),
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
    return "x".join(map(str, tensor.shape)) or tr("scalar")
