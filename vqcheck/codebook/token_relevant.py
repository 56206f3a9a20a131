"""Which tensors of a VQ encoder some lookup depends on: asked once, when names are matched, for files and live modules.

Codes, what transforms them, the init flag and input projections always decide tokens, running sums and counts never. An
output projection does where a later lookup takes what is left of the features once its result is taken off.
"""

from collections.abc import Iterable

from vqcheck.codebook.family import BOOKKEEPING, BOOKS, GROUPS, LAYERS, OUTPUT_PROJ
from vqcheck.codebook.found import Found
from vqcheck.codebook.vq_encoder import BookPlace


def mark(found: Iterable[Found], residual: str) -> tuple[Found, ...]:
    """Return the tensors of one VQ encoder with `token_relevant` as a chain of residuals makes it.

    What was relevant before stays so: an output projection that is fed back to its own codebook.
    """
    tensors = tuple(found)
    lookups = {_lookup(each) for each in tensors}
    return tuple(each._replace(token_relevant=_is_relevant(each, residual, lookups)) for each in tensors)


def _is_relevant(found: Found, residual: str, lookups: set[BookPlace]) -> bool:
    if found.role in BOOKKEEPING:
        return False
    if found.role != OUTPUT_PROJ or found.token_relevant:
        return True
    return feeds_a_lookup((found.book, found.group, found.layer), lookups, residual)


def feeds_a_lookup(place: BookPlace, lookups: Iterable[BookPlace], residual: str) -> bool:
    """Say whether a later lookup takes what an output projection leaves; one of layer -1 stands behind all layers."""
    return any(_is_after(lookup, place, residual) for lookup in lookups)


def _lookup(found: Found) -> BookPlace:
    """Return the lookup that a tensor belongs to; one for all layers belongs to any of them, so to the first."""
    return found.book, found.group, max(found.layer, 0)


def _is_after(lookup: BookPlace, place: BookPlace, residual: str) -> bool:
    if lookup[:2] == place[:2]:
        return residual in (LAYERS, GROUPS, BOOKS) and lookup[2] > place[2] >= 0
    if lookup[0] == place[0]:
        return residual in (GROUPS, BOOKS) and lookup[1] > place[1]
    return residual == BOOKS and lookup[0] > place[0]
