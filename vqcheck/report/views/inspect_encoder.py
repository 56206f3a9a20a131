"""One VQ encoder in `vqcheck inspect`: its quantizers, its health, its tensors and digests."""

from collections.abc import Iterable, Iterator

from vqcheck.codebook.digest import F32V1, Digest
from vqcheck.codebook.family import IMPLICIT, SUM_OVER_COUNT, TRANSFORMED
from vqcheck.codebook.health import Health
from vqcheck.codebook.inspection import BookSummary, EncoderSummary, TensorSummary
from vqcheck.codebook.vq_encoder import InFront
from vqcheck.report.blocks import (
    Block,
    Column,
    Fact,
    Inline,
    Paragraph,
    Section,
    Shown,
    Table,
    Tone,
    Word,
    code,
    strong,
)
from vqcheck.report.views.words import ranges


def title(encoder: EncoderSummary) -> str:
    """Return what codec it is, where in the model, and how many codebooks."""
    shadow = "moving average of " if encoder.is_shadow else ""
    count = sum(book.codebooks for book in encoder.books)
    books = f", {count} codebook{'s' * (count != 1)}" if encoder.books else ""
    prefix = f", names begin with '{encoder.prefix}'" if encoder.prefix else ""
    return f"{shadow}{encoder.title}{books}{prefix}"


def encoder_facts(encoder: EncoderSummary) -> Iterator[Fact]:
    """Yield what it is and what quantizers it has."""
    yield Fact("VQ encoder", title(encoder))
    why = "no known codec has these names" if encoder.structural else f"it may be {encoder.unplaced}"
    unknown = f"what is in front of the codebook is not known: {why}"
    yield Fact("", Word(unknown, Tone.WARNING) if encoder.in_front == InFront.UNKNOWN else None)
    yield Fact("", _derivation(encoder.derivation))
    if sum(book.codebooks for book in encoder.books) > 1:
        for book in encoder.books:
            yield Fact("", _book(book))


def _derivation(derivation: str) -> str | None:
    return {
        SUM_OVER_COUNT: "the codes are calculated: sum over count",
        TRANSFORMED: "the codes are calculated: stored vectors go through a transform",
        IMPLICIT: "the codes are a fixed grid; only the projection in front of them is stored",
    }.get(derivation)


def _book(book: BookSummary) -> str:
    heads = f"{book.heads} heads x " if book.heads > 1 else ""
    shared = f", stored as {book.stored} (shared)" if book.stored < book.codebooks else ""
    name = f"{book.name}: " if book.name else ""
    return f"{name}{book.codebooks} x {heads}{book.codes} codes of {book.dim}{shared}"


def health_facts(encoder: EncoderSummary) -> Iterator[Fact]:
    """Yield the health of each codebook that is unfit for use, and of all others together."""
    if not encoder.is_read:
        yield Fact("Health", "not known: the values were not read (--no-digests)")
        return
    well = [health for health in encoder.codebooks if health.usable]
    if len(encoder.codebooks) == 1:
        yield Fact("Health", _health([encoder.codebooks[0]]))
    else:
        for places, found in _ill(encoder.codebooks):
            yield Fact("Health", [f"{places}: ", *found])
        yield Fact("Health", _health(well) if well else None)
    if count := encoder.projection_not_finite:
        yield Fact("Health", Word(f"{count} values of projections that decide tokens are NaN or infinite", Tone.BAD))


def _ill(books: Iterable[Health]) -> list[tuple[str, list[str | Word]]]:
    """Return what ails codebooks, and which; those that differ only in the number of the layer together."""
    together: dict[tuple[str, tuple[str | Word, ...]], list[str]] = {}
    for book in books:
        if not book.usable:
            before, dot, number = book.place.rpartition(".")
            together.setdefault((before + dot, tuple(_health([book]))), []).append(number)
    return [
        (before + (ranges(map(int, numbers)) if all(map(str.isdecimal, numbers)) else ", ".join(numbers)), [*found])
        for (before, found), numbers in together.items()
    ]


def _health(books: list[Health]) -> list[str | Word]:
    """Return the health of some codebooks: of one, or of several that are fit for use."""
    parts: list[str | Word] = []
    if any(book.never_trained for book in books):
        why = "its codes are all zero" if books[0].all_zero else "its init flag is 0"
        parts.append(Word(f"NEVER TRAINED ({why}); ", Tone.BAD))
    if not_finite := sum(book.not_finite for book in books):
        parts.append(Word(f"{not_finite} values are NaN or infinite; ", Tone.BAD))
    if negative := sum(book.negative for book in books):
        parts.append(Word(f"BROKEN ({negative} counts are negative); ", Tone.BAD))
    elif any(book.collapsed for book in books):
        parts.append(Word("COLLAPSED (nearly all frames go to a few codes); ", Tone.BAD))
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
    return "" if any(book.unused is not None for book in books) else "no sums and counts are stored"


def tensors(encoder: EncoderSummary) -> list[Block]:
    """Return the tensors with their digests: in short, those of several layers together; and in full."""
    digests = dict(encoder.f32.tensors)
    is_long = len(encoder.codebooks) > 1
    kinds: dict[object, list[TensorSummary]] = {}
    for tensor in encoder.tensors:
        kinds.setdefault(_kind(tensor) if is_long else tensor.label, []).append(tensor)
    short: list[tuple[Inline, ...]] = []
    for same in kinds.values():
        first = same[0]
        alone = len(same) == 1
        label = first.label if alone else f"{first.book} {first.label.removeprefix(first.place).strip()}".strip()
        last = f"{len(same)} tensors" if not alone else code(digests[first.label].short) if encoder.is_read else ""
        short.append((label, first.dtype, _shape(first), last))
    whole = [
        (each.label, each.dtype, _shape(each), code(digests[each.label].hex) if encoder.is_read else "")
        for each in encoder.tensors
    ]
    columns = (Column("Tensor"), Column("Type"), Column("Shape"), Column(F32V1))
    totals = _totals(encoder)
    return [
        Section(
            "Tensors",
            (
                Table("", columns, [*short, *((name, "", "", strong(each.short)) for name, each in totals)]),
                Paragraph("-v lists every tensor." if is_long else ""),
            ),
            Shown.BRIEF,
            heading=Shown.PAGE,
        ),
        Section(
            "Tensors",
            (
                Table(
                    "Every tensor of the VQ encoder, and the digests of the whole.",
                    columns,
                    [*whole, *((name, "", "", code(each.hex)) for name, each in totals)],
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
