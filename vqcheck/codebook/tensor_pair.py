"""One tensor of a VQ encoder in both files: read, digested and judged."""

from collections.abc import Callable, Iterator
from functools import cache, cached_property
from itertools import zip_longest
from typing import TYPE_CHECKING

from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook import digest, file_record
from vqcheck.codebook.comparison import Change, TensorDiff, Verdict, is_judged
from vqcheck.codebook.copies import Copy
from vqcheck.codebook.digest import Digest
from vqcheck.codebook.family import BOOKKEEPING, CODEBOOK_ROLES, Role
from vqcheck.codebook.file_record import FileOrder, FileRecord, RoundingReading
from vqcheck.codebook.float_bytes import not_finite
from vqcheck.codebook.vq_encoder import Place, RoleTensor, VQEncoder
from vqcheck.language import tr

if TYPE_CHECKING:
    from vqcheck.codebook.rounding import Rounded


class TensorSide:
    """One file's part of a pair: the tensor, if the file has it, and its digest once known."""

    def __init__(
        self,
        file: Checkpoint,
        encoder: VQEncoder,
        tensor: RoleTensor | None,
        record: FileRecord,
        types_of_file: Callable[[], frozenset[str]],
        *,
        has_codebook: bool = True,
    ) -> None:
        self.file = file
        self.encoder = encoder
        self.tensor = tensor
        self.record = record
        self._types_of_file = types_of_file
        self.has_codebook = has_codebook
        """Whether the file has a codebook at this place at all."""
        self.digest: Digest | None = None
        self.not_finite = 0
        """Values that are NaN or infinite."""

    @cached_property
    def data(self) -> bytes | bytearray:
        """The stored bytes; empty where the file lacks the tensor."""
        return self.file.read(self.tensor.tensor) if self.tensor else b""

    def recall(self) -> bool:
        """Take digest and count of values that are not finite from an earlier comparison of this open file."""
        known = self.file.remembered.get(self.tensor) if self.file.remembered is not None else None
        if known is None:
            return False
        self.digest, self.not_finite = known
        return True

    def remember(self) -> None:
        if self.file.remembered is not None:
            self.file.remembered[self.tensor] = self.digest, self.not_finite

    @property
    def types(self) -> frozenset[str]:
        """The types to which the tensor may have been rounded: by how it is stored, or as its whole file was."""
        from vqcheck.codebook.rounding import types_by_storage

        stored = types_by_storage(self.tensor.tensor.dtype) if self.tensor else frozenset()
        return stored | self._types_of_file()


class Pair:
    """One tensor in both files. Equal bytes are compared and digested in passing and not kept."""

    def __init__(self, place: Place, a: TensorSide, b: TensorSide) -> None:
        self.place = place
        self.a, self.b = a, b
        self._same_bytes = self._compare_bytes()
        if not self._same_bytes:
            for side in (a, b):
                if side.tensor and not side.recall():
                    side.digest = digest.tensor_digest(side.tensor, side.data, digest.F32V1)
                    side.not_finite = not_finite(side.data, side.tensor.tensor.dtype)
                    side.remember()

    def _compare_bytes(self) -> bool:
        a, b = self.a.tensor, self.b.tensor
        if a is None or b is None or (a.tensor.dtype, a.shape) != (b.tensor.dtype, b.shape):
            return False
        known = self.a.recall()
        hasher = digest.Hasher(a, digest.F32V1)
        found = 0
        pieces_a, pieces_b = self.a.file.pieces(a.tensor), self.b.file.pieces(b.tensor)
        for piece_a, piece_b in zip_longest(pieces_a, pieces_b, fillvalue=b""):
            # One file may be packed, and so come in other pieces; then the digests of the whole decide.
            if piece_a != piece_b:
                return False
            if not known:
                hasher.update(piece_a)
                found += not_finite(piece_a, a.tensor.dtype)
        if not known:
            self.a.digest, self.a.not_finite = hasher.digest(), found
            self.a.remember()
        # The digest's header has the role, which is the same on both sides: they are of one place.
        self.b.digest, self.b.not_finite = self.a.digest, self.a.not_finite
        return True

    @property
    def differs(self) -> bool:
        """Whether both files have the tensor in one shape, with other values."""
        a, b = self.a.tensor, self.b.tensor
        return a is not None and b is not None and a.shape == b.shape and self.a.digest != self.b.digest

    @cached_property
    def rounded(self) -> "Rounded | None":
        """How values that differ are roundings; None where they are not, or do not differ."""
        a, b = self.a.tensor, self.b.tensor
        if a is None or b is None or not self.differs or a.role == Role.INIT_FLAG:
            return None
        from vqcheck.codebook.rounding import relation
        from vqcheck.codebook.values import as_array

        values = as_array(a, self.a.data), as_array(b, self.b.data)
        return relation(*values, (self.a.types, self.b.types), saturates=a.role in BOOKKEEPING)

    def is_judged(self, scope: str) -> bool:
        """Say whether the tensor counts in the verdict: where it decides tokens in either file."""
        tensors = [side.tensor for side in (self.a, self.b) if side.tensor]
        return any(is_judged(tensor.role, scope, token_relevant=tensor.token_relevant) for tensor in tensors)

    def diff(self, scope: str, order: FileOrder) -> TensorDiff:
        """Return the verdict on the tensor, given which file came first; outside `scope` it is not judged."""
        verdict, note, change = self._judge(order)
        a, b = self.a.tensor, self.b.tensor
        some, encoder = _present(self.a, self.b)
        return TensorDiff(
            label=encoder.label(some, self.place),
            role=some.role,
            verdict=verdict,
            judged=self.is_judged(scope),
            note=note,
            a_name=a.tensor.name if a else "",
            b_name=b.tensor.name if b else "",
            a_dtype=a.tensor.dtype if a else "",
            b_dtype=b.tensor.dtype if b else "",
            a_shape=a.tensor.shape if a else (),
            b_shape=b.tensor.shape if b else (),
            a_digest=self.a.digest,
            b_digest=self.b.digest,
            change=change,
            rounded_to=" and ".join(self.rounded.dtypes) if self.rounded else "",
            narrower=self.rounded.narrower if self.rounded else "",
            reading=order.reading(self.rounded) if self.rounded else None,
        )

    def _judge(self, order: FileOrder) -> tuple[Verdict, str, Change | None]:
        """Return (verdict, note, change)."""
        a, b = self.a.tensor, self.b.tensor
        if a is None or b is None:
            some, _ = _present(self.a, self.b)
            return _judge_absence("A", self.a, some) if a is None else _judge_absence("B", self.b, some)
        if a.shape != b.shape:
            return Verdict.OTHER_SHAPE, "", None
        if self._same_bytes:
            return Verdict.IDENTICAL, "", None
        if self.a.digest == self.b.digest:
            # Equal digests mean equal values: the digest covers every bit of the widened values.
            return Verdict.IDENTICAL, _widths(a, b), None
        return self._judge_values(a, b, order)

    def _judge_values(self, a: RoleTensor, b: RoleTensor, order: FileOrder) -> tuple[Verdict, str, Change | None]:
        from vqcheck.codebook.tensor_change import measure
        from vqcheck.codebook.values import as_array

        values_a, values_b = as_array(a, self.a.data), as_array(b, self.b.data)
        change = measure(values_a, values_b, _row_axes(a))
        found = self.rounded
        if found is None:
            return Verdict.CHANGED, "", change
        if order.reading(found) is RoundingReading.TRAINED:
            note = tr("{rounded}, and was there first: training moved it by less than a step", rounded=found.sentence)
            return Verdict.CHANGED, note, change
        if change.not_finite and a.role not in CODEBOOK_ROLES:
            number = change.not_finite
            note = tr("{rounded}, which made {number} values infinite", rounded=found.sentence, number=number)
            return Verdict.CHANGED, note, change
        if a.role not in CODEBOOK_ROLES and a.part.rpartition(".")[2] != "bias" and values_a.any() != values_b.any():
            return Verdict.CHANGED, tr("{rounded}, which left nothing but zeros", rounded=found.sentence), change
        return Verdict.ROUNDED, found.sentence, change


def _widths(a: RoleTensor, b: RoleTensor) -> str:
    """Return in which widths two files store the same values; empty where they agree."""
    dtypes = a.tensor.dtype, b.tensor.dtype
    if dtypes[0] == dtypes[1]:
        return ""
    return tr("A stores {type_a}, B {type_b}", type_a=dtypes[0], type_b=dtypes[1])


def _row_axes(tensor: RoleTensor) -> int:
    """Return how many leading axes of the canonical shape count rows: heads and codes, or output channels."""
    if tensor.role in (Role.CODES, Role.EMA_SUM, Role.EMA_COUNT) and not tensor.part:
        return 2
    return min(1, len(tensor.shape))


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


def _sides(copy: Copy) -> Callable[[Place], TensorSide]:
    """Return what gives one file's part of each pair."""
    tensors, record = copy.encoder.by_place(), file_record.record(copy.file)
    books = {place[:3] for place in tensors if place[3] in CODEBOOK_ROLES}

    @cache
    def types_of_file() -> frozenset[str]:
        from vqcheck.codebook.rounding import types_of_file
        from vqcheck.codebook.values import as_array

        floats = [tensor for tensor in copy.encoder.tensors if tensor.role != Role.INIT_FLAG]
        return types_of_file((each.tensor.dtype, as_array(each, copy.file.read(each.tensor))) for each in floats)

    def side(place: Place) -> TensorSide:
        has_codebook = place[:3] in books
        return TensorSide(copy.file, copy.encoder, tensors.get(place), record, types_of_file, has_codebook=has_codebook)

    return side


def _present(a: TensorSide, b: TensorSide) -> tuple[RoleTensor, VQEncoder]:
    """Return the tensor of the first file that has it, and that file's VQ encoder."""
    for side in (a, b):
        if side.tensor is not None:
            return side.tensor, side.encoder
    raise ValueError("a pair of which neither file has the tensor")


def _judge_absence(letter: str, lacking: TensorSide, present: RoleTensor) -> tuple[Verdict, str, Change | None]:
    """Return (verdict, note, change) of a tensor that only the other file has."""
    if present.role in CODEBOOK_ROLES and not lacking.has_codebook:
        return Verdict.MISSING, tr("{file} has no such codebook", file=letter), None
    if not file_record.may_leave_out(lacking.record, lacking.encoder.family, present.role):
        return Verdict.MISSING, tr("not in {file}", file=letter), None
    return Verdict.NOT_STORED, tr("not in {file}: {why}", file=letter, why=lacking.record.why_left_out), None
