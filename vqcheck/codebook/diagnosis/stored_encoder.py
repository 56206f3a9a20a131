"""The VQ encoders of two files as a diagnosis reads them: tensors as arrays, and codebooks as `Book`s."""

from collections.abc import Iterator

from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook.diagnosis.book import Book, State, book_of, padded_codes, state_of
from vqcheck.codebook.family import BOOKKEEPING, Role
from vqcheck.codebook.tensor_pair import TensorSide
from vqcheck.codebook.values import Array, as_array
from vqcheck.codebook.vq_encoder import BookPlace, Codebook, RoleTensor, VQEncoder
from vqcheck.quick_dataclass import quick_dataclass


@quick_dataclass(frozen=True, slots=True)
class StoredEncoder:
    """One file's VQ encoder; its tensors are read when they are needed, and only once."""

    checkpoint: Checkpoint
    encoder: VQEncoder
    sides: dict[RoleTensor, TensorSide]

    def array(self, tensor: RoleTensor) -> Array:
        """Return a tensor's values in its canonical shape."""
        return as_array(tensor, self.sides[tensor].data)

    def places(self) -> frozenset[BookPlace]:
        """Return where the file has a codebook, a tied one at each of its places."""
        return frozenset(place for codebook in self.encoder.codebooks for place in (codebook.place, *codebook.tied))

    def books(self) -> dict[tuple[int, int, int], Codebook]:
        return {codebook.codes.place[:3]: codebook for codebook in self.encoder.codebooks}

    def pairs(self, other: "StoredEncoder") -> Iterator[tuple[RoleTensor, RoleTensor]]:
        """Yield the tensors that both files store, at one place."""
        theirs = {tensor.place: tensor for tensor in other.encoder.tensors}
        return ((tensor, theirs[tensor.place]) for tensor in self.encoder.tensors if tensor.place in theirs)


def book_at(
    number: int, a: StoredEncoder, b: StoredEncoder, books: tuple[Codebook, Codebook], changed: frozenset[str]
) -> Book | None:
    """Return one codebook of both files with what changed in it; None where a side has no codes to look at."""
    state_a, state_b = _state(a, books[0]), _state(b, books[1])
    if state_a is None or state_b is None:
        return None
    biases = [bias for reading, book in zip((a, b), books, strict=True) if (bias := _bias(reading, book)) is not None]
    return book_of(number, a.encoder.family, state_a, state_b, changed, padded_codes(state_a, state_b, biases))


def _bias(reading: StoredEncoder, codebook: Codebook) -> Array | None:
    """Return what the projection makes of a padded frame, `[dim]`, where this codebook's lookup is the first to see it.

    Padding is zero, so that the bias alone is left.
    """
    first = min(each.place for each in reading.encoder.codebooks if each.place[0] == codebook.place[0])
    if codebook.place != first:
        return None
    biases = [
        tensor for tensor in reading.encoder.projection if (tensor.role, tensor.part) == (Role.INPUT_PROJ, "bias")
    ]
    fitting = [tensor for tensor in biases if tensor.shape == codebook.codes.shape[-1:]]
    return reading.array(fitting[0]) if len(fitting) == 1 else None


def _state(reading: StoredEncoder, codebook: Codebook) -> State | None:
    """Return the codebook as numbers; codes that are not stored are calculated from sums and counts, as in Mimi."""
    arrays: dict[str, Array] = {
        tensor.role: reading.array(tensor) for tensor in codebook.tensors if tensor.role in (Role.CODES, *BOOKKEEPING)
    }
    codes, sums, counts = (arrays.get(role) for role in (Role.CODES, Role.EMA_SUM, Role.EMA_COUNT))
    if codes is None and sums is not None and counts is not None:
        codes = sums / counts.clip(min=1e-5)[..., None]
    return None if codes is None else state_of(codes, sums, counts)
