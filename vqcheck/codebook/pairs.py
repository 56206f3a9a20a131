"""The tensors of two copies of a VQ encoder, place by place."""

from collections.abc import Callable, Iterator
from functools import cache

from vqcheck.codebook import kind, pair
from vqcheck.codebook.copies import Copy
from vqcheck.codebook.family import CODEBOOK_ROLES, INIT_FLAG
from vqcheck.codebook.pair import Pair
from vqcheck.codebook.vq_encoder import Place, VQEncoder


def pairs_of(a: Copy, b: Copy) -> Iterator[Pair]:
    """Yield each tensor of two copies, read and compared.

    Raises:
        CheckpointError: a tensor cannot be read.

    """
    side_a, side_b = _sides(a), _sides(b)
    for place in places(a.encoder, b.encoder):
        yield Pair(place, side_a(place), side_b(place))


def places(a: VQEncoder, b: VQEncoder) -> list[Place]:
    """Return every place once, in order; one that both files tie to another is compared there."""
    return list(dict.fromkeys(tensor.place for encoder in (a, b) for tensor in encoder.tensors))


def in_common(a: VQEncoder, b: VQEncoder) -> bool:
    """Say whether both hold what the same codes come from, under whatever spelling."""
    sources = [
        {place[:4] for place in encoder.by_place() if place[3] == encoder.family.source_of_codes} for encoder in (a, b)
    ]
    return not sources[0].isdisjoint(sources[1])


def _sides(copy: Copy) -> Callable[[Place], pair.Side]:
    """Return what gives one file's part of each pair."""
    tensors, record = copy.encoder.by_place(), kind.record(copy.file)
    books = {place[:3] for place in tensors if place[3] in CODEBOOK_ROLES}

    @cache
    def types_of_file() -> frozenset[str]:
        from vqcheck.codebook.rounding import types_of_file
        from vqcheck.codebook.values import as_array

        floats = [tensor for tensor in copy.encoder.tensors if tensor.role != INIT_FLAG]
        return types_of_file((each.tensor.dtype, as_array(each, copy.file.read(each.tensor))) for each in floats)

    def side(place: Place) -> pair.Side:
        has_codebook = place[:3] in books
        return pair.Side(copy.file, copy.encoder, tensors.get(place), record, types_of_file, has_codebook=has_codebook)

    return side
