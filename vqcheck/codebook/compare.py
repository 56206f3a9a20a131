"""Compares the VQ encoders of two checkpoints, tensor by tensor and bit by bit."""

from collections.abc import Callable
from typing import Final

from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook import digest, health
from vqcheck.codebook.comparison import (
    CHANGED,
    FAULTS,
    IDENTICAL,
    MISSING,
    NOT_STORED,
    OTHER_SHAPE,
    ROUNDED,
    Change,
    Comparison,
    Side,
    TensorDiff,
)
from vqcheck.codebook.digest import Digest
from vqcheck.codebook.family import BOOKKEEPING, CODES, EMA_COUNT, EMA_SUM, INIT_FLAG, OUTPUT_PROJ
from vqcheck.codebook.find import find_vq_encoder
from vqcheck.codebook.vq_encoder import RoleTensor, VQEncoder
from vqcheck.errors import NoCodebookError

ALL: Final = "all"
TOKENS: Final = "tokens"
SCOPES: Final = (ALL, TOKENS)

OnTensor = Callable[[int, int], None]
"""Called as (tensors done, tensors in all) after each tensor."""

_ROUNDINGS: Final = ("float16", "bfloat16")


def compare(a: Checkpoint, b: Checkpoint, scope: str = ALL, on_tensor: OnTensor | None = None) -> Comparison:
    """Return what differs between the VQ encoders of two open checkpoints.

    With `scope="tokens"` the bookkeeping tensors are shown, but not judged.

    Raises:
        NoCodebookError: a file holds no VQ encoder, or the two have no token-relevant tensor in common.
        CheckpointError: a tensor cannot be read.

    """
    encoder_a, encoder_b = find_vq_encoder(a), find_vq_encoder(b)
    in_b = {tensor.place: tensor for tensor in encoder_b.tensors}
    in_a = {tensor.place: tensor for tensor in encoder_a.tensors}
    places = [*in_a, *(place for place in in_b if place not in in_a)]
    if not any(in_a[place].role == CODES for place in in_a.keys() & in_b.keys()):
        raise NoCodebookError(f"{a.path} and {b.path}: have no codebook in common")
    pairs: list[_Pair] = []
    for done, place in enumerate(places, start=1):
        pairs.append(_Pair(a, b, encoder_a, encoder_b, in_a.get(place), in_b.get(place)))
        if on_tensor:
            on_tensor(done, len(places))
    diffs = tuple(pair.diff(scope) for pair in pairs)
    a.check_unchanged()
    b.check_unchanged()
    return Comparison(
        a=_side(a, encoder_a, {pair.a: (pair.a_data, pair.a_digest) for pair in pairs if pair.a}),
        b=_side(b, encoder_b, {pair.b: (pair.b_data, pair.b_digest) for pair in pairs if pair.b}),
        scope=scope,
        tensors=diffs,
        verdict=_whole(diffs),
    )


def _whole(diffs: tuple[TensorDiff, ...]) -> str:
    verdicts = {diff.verdict for diff in diffs if diff.judged}
    if verdicts & FAULTS:
        return CHANGED
    return ROUNDED if ROUNDED in verdicts else IDENTICAL


def _side(
    checkpoint: Checkpoint, encoder: VQEncoder, read: dict[RoleTensor, tuple[bytes | bytearray, Digest | None]]
) -> Side:
    data = {tensor: content for tensor, (content, _) in read.items()}
    digests = {tensor: value for tensor, (_, value) in read.items() if value}
    return Side(
        path=str(checkpoint.path),
        family=encoder.family.name,
        prefix=encoder.prefix,
        never_trained=any(health.never_trained(codebook, data) for codebook in encoder.codebooks),
        digests=digest.combine(encoder, digests, digest.F32V1),
    )


class _Pair:
    """One tensor read from both files. Equal bytes are digested once."""

    def __init__(
        self,
        file_a: Checkpoint,
        file_b: Checkpoint,
        encoder_a: VQEncoder,
        encoder_b: VQEncoder,
        a: RoleTensor | None,
        b: RoleTensor | None,
    ) -> None:
        self.a, self.b = a, b
        self._encoder_a, self._encoder_b = encoder_a, encoder_b
        self.a_data = file_a.read(a.tensor) if a else b""
        self.b_data = file_b.read(b.tensor) if b else b""
        self._same_bytes = (
            a is not None
            and b is not None
            and (a.tensor.dtype, a.shape) == (b.tensor.dtype, b.shape)
            and self.a_data == self.b_data
        )
        self.a_digest = digest.tensor_digest(a, self.a_data, digest.F32V1) if a else None
        if self._same_bytes:
            self.b_digest = self.a_digest
        else:
            self.b_digest = digest.tensor_digest(b, self.b_data, digest.F32V1) if b else None

    def diff(self, scope: str) -> TensorDiff:
        verdict, note, change = self._judge()
        some = self.a or self.b
        assert some is not None
        encoder = self._encoder_a if self.a else self._encoder_b
        return TensorDiff(
            label=encoder.label(some),
            role=some.role,
            verdict=verdict,
            judged=some.role != OUTPUT_PROJ and not (scope == TOKENS and some.role in BOOKKEEPING),
            note=note,
            a_name=self.a.tensor.name if self.a else "",
            b_name=self.b.tensor.name if self.b else "",
            a_dtype=self.a.tensor.dtype if self.a else "",
            b_dtype=self.b.tensor.dtype if self.b else "",
            a_shape=self.a.tensor.shape if self.a else (),
            b_shape=self.b.tensor.shape if self.b else (),
            a_digest=self.a_digest,
            b_digest=self.b_digest,
            change=change,
        )

    def _judge(self) -> tuple[str, str, Change | None]:
        """Return (verdict, note, change)."""
        a, b = self.a, self.b
        if a is None or b is None:
            present, encoder = (b, self._encoder_a) if a is None else (a, self._encoder_b)
            assert present is not None
            side = "A" if a is None else "B"
            if encoder.may_lack(present.role):
                kind = "a LoRA export leaves it to its base model" if encoder.is_lora else "an export leaves it out"
                return NOT_STORED, f"not in {side}: {kind}", None
            return MISSING, f"not in {side}", None
        if a.shape != b.shape:
            return OTHER_SHAPE, "", None
        if self._same_bytes:
            return IDENTICAL, "", None
        if self.a_digest == self.b_digest:
            # Equal digests mean equal values: the digest covers every bit of the widened values.
            return IDENTICAL, _width_note(a.tensor.dtype, b.tensor.dtype), None
        return self._judge_values(a, b)

    def _judge_values(self, a: RoleTensor, b: RoleTensor) -> tuple[str, str, Change | None]:
        from vqcheck.codebook.change import measure, same_bits
        from vqcheck.codebook.values import as_array, round_to

        values_a, values_b = as_array(a, self.a_data), as_array(b, self.b_data)
        change = measure(values_a, values_b, _row_axes(a))
        if a.role != INIT_FLAG:
            for dtype in _ROUNDINGS:
                if same_bits(round_to(values_a, dtype), values_b):
                    return ROUNDED, f"B is A rounded to {dtype}", change
                if same_bits(values_a, round_to(values_b, dtype)):
                    return ROUNDED, f"A is B rounded to {dtype}", change
        return CHANGED, "", change


def _width_note(a: str, b: str) -> str:
    return "" if a == b else f"A stores {a}, B {b}"


def _row_axes(tensor: RoleTensor) -> int:
    """Return how many leading axes of the canonical shape count rows: heads and codes, or output channels."""
    if tensor.role in (CODES, EMA_SUM, EMA_COUNT):
        return 2
    return min(1, len(tensor.shape))
