"""One tensor of a VQ encoder in both files: read, digested and judged."""

from functools import cached_property
from itertools import zip_longest
from typing import Final

from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook import digest
from vqcheck.codebook.comparison import (
    CHANGED,
    IDENTICAL,
    MISSING,
    NOT_STORED,
    OTHER_SHAPE,
    ROUNDED,
    Change,
    TensorDiff,
    is_judged,
)
from vqcheck.codebook.digest import Digest
from vqcheck.codebook.family import CODEBOOK_ROLES, CODES, EMA_COUNT, EMA_SUM, INIT_FLAG
from vqcheck.codebook.vq_encoder import Place, RoleTensor, VQEncoder

_ROUNDINGS: Final = ("float16", "bfloat16")


class Side:
    """One file's part of a pair: the tensor, if the file has it, and its digest once known."""

    def __init__(
        self, file: Checkpoint, encoder: VQEncoder, tensor: RoleTensor | None, *, has_codebook: bool = True
    ) -> None:
        self.file = file
        self.encoder = encoder
        self.tensor = tensor
        self.has_codebook = has_codebook
        """Whether the file has a codebook at this place at all."""
        self.digest: Digest | None = None

    @cached_property
    def data(self) -> bytes | bytearray:
        """The stored bytes; empty where the file lacks the tensor."""
        return self.file.read(self.tensor.tensor) if self.tensor else b""


class Pair:
    """One tensor in both files. Equal bytes are compared and digested in passing and not kept."""

    def __init__(self, place: Place, a: Side, b: Side) -> None:
        self.place = place
        self.a, self.b = a, b
        self._same_bytes = self._compare_bytes()
        if not self._same_bytes:
            for side in (a, b):
                side.digest = digest.tensor_digest(side.tensor, side.data, digest.F32V1) if side.tensor else None

    def _compare_bytes(self) -> bool:
        a, b = self.a.tensor, self.b.tensor
        if a is None or b is None or (a.tensor.dtype, a.shape) != (b.tensor.dtype, b.shape):
            return False
        hasher = digest.Hasher(a, digest.F32V1)
        pieces_a, pieces_b = self.a.file.pieces(a.tensor), self.b.file.pieces(b.tensor)
        for piece_a, piece_b in zip_longest(pieces_a, pieces_b, fillvalue=b""):
            # One file may be packed, and so come in other pieces; then the digests of the whole decide.
            if piece_a != piece_b:
                return False
            hasher.update(piece_a)
        self.a.digest = self.b.digest = hasher.digest()
        return True

    def is_judged(self, scope: str) -> bool:
        """Say whether the tensor counts in the verdict: where it decides tokens in either file."""
        tensors = [side.tensor for side in (self.a, self.b) if side.tensor]
        return any(is_judged(tensor.role, scope, token_relevant=tensor.token_relevant) for tensor in tensors)

    def diff(self, scope: str) -> TensorDiff:
        """Return the verdict on the tensor; outside `scope` it is given but not judged."""
        verdict, note, change = self._judge()
        side = self.a if self.a.tensor else self.b
        some, a, b = side.tensor, self.a.tensor, self.b.tensor
        assert some is not None
        return TensorDiff(
            label=side.encoder.label(some, self.place),
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
        )

    def _judge(self) -> tuple[str, str, Change | None]:
        """Return (verdict, note, change)."""
        a, b = self.a.tensor, self.b.tensor
        if a is None or b is None:
            return self._judge_absence()
        if a.shape != b.shape:
            return OTHER_SHAPE, "", None
        if self._same_bytes:
            return IDENTICAL, "", None
        if self.a.digest == self.b.digest:
            # Equal digests mean equal values: the digest covers every bit of the widened values.
            width_note = "" if a.tensor.dtype == b.tensor.dtype else f"A stores {a.tensor.dtype}, B {b.tensor.dtype}"
            return IDENTICAL, width_note, None
        return self._judge_values(a, b)

    def _judge_absence(self) -> tuple[str, str, Change | None]:
        letter, lacking, present = ("A", self.a, self.b) if self.a.tensor is None else ("B", self.b, self.a)
        assert present.tensor is not None
        if present.tensor.role in CODEBOOK_ROLES and not lacking.has_codebook:
            return MISSING, f"{letter} has no such codebook", None
        if not lacking.encoder.may_lack(present.tensor.role):
            return MISSING, f"not in {letter}", None
        kind = "a LoRA export leaves it to its base model" if lacking.encoder.is_lora else "an export leaves it out"
        return NOT_STORED, f"not in {letter}: {kind}", None

    def _judge_values(self, a: RoleTensor, b: RoleTensor) -> tuple[str, str, Change | None]:
        from vqcheck.codebook.change import measure, same_bits
        from vqcheck.codebook.values import as_array, round_to

        values_a, values_b = as_array(a, self.a.data), as_array(b, self.b.data)
        change = measure(values_a, values_b, _row_axes(a))
        if a.role != INIT_FLAG:
            for dtype in _ROUNDINGS:
                if same_bits(round_to(values_a, dtype), values_b):
                    return ROUNDED, f"B is A rounded to {dtype}", change
                if same_bits(values_a, round_to(values_b, dtype)):
                    return ROUNDED, f"A is B rounded to {dtype}", change
        return CHANGED, "", change


def _row_axes(tensor: RoleTensor) -> int:
    """Return how many leading axes of the canonical shape count rows: heads and codes, or output channels."""
    if tensor.role in (CODES, EMA_SUM, EMA_COUNT) and not tensor.part:
        return 2
    return min(1, len(tensor.shape))
