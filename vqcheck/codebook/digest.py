r"""The digests of a VQ encoder: the same for the same stored values, whatever the file around them.

Specification of `sha256-f32v1`, `sha256-f16v1` and `sha256-bf16v1`
-----------------------------------------------------------------
A *tensor digest* is the SHA-256 of a header line and the data that follows it. The header is ASCII:

    <algorithm> <role> <element type> <shape>\n

- role: `codes`, `ema_sum`, `ema_count`, `init_flag`, or a role and its part such as `input_proj.weight`. Weight norm
  has the parts `g` and `v` in each of torch's spellings. Values that are calculated when the codec runs have no digest.
- shape: the canonical shape, lengths joined with `x` (`1x1024x768`), or `scalar`. Codes and sums are
  `[heads, codes, dim]` and counts `[heads, codes]`, also where the file stores them in another order.
- data: C order, little-endian. `init_flag` is one byte, 1 when its value is not zero (negative zero is zero), with the
  element type `bool`; where each head has a flag, one byte for each, and the shape is their number. Every other tensor:
    - `sha256-f32v1`: float16, bfloat16 and float8 widened to `float32`, which loses nothing; float64 narrowed to
      `float32` where every value of the tensor keeps all its bits; what does not, float32 and integer types as they are
      stored. NaN payloads and the sign of zero count.
    - `sha256-f16v1`: rounded to `float16`, to nearest, ties to even, overflow to infinity; float64 is rounded to
      float32 first; every NaN becomes 0x7e00. Integer types as they are stored.
    - `sha256-bf16v1`: the same with `bfloat16`; every NaN becomes 0x7fc0.

A *combined digest* is the SHA-256 of one ASCII line for each tensor, in order:

    <codebook number> <role> <tensor digest in hexadecimal>\n

Codebooks are numbered from 0 in the order of the family row: book, then group, then layer as a number; projections
have `-` for a number. Within a codebook roles come in the order codes, ema_sum, ema_count, init_flag, code_transform,
and parts in the order weight, g, v, bias, then by name. A codebook that several layers share counts once; the line

    <codebook number> tied <group.layer of each place, separated by spaces>\n

follows it then. Last of a codebook come the output projections that decide tokens: those behind which a later lookup
takes what is left of the features, as in every layer of a residual codec but the last. Their lines are

    <codebook number> output_proj.<part> <tensor digest in hexadecimal>\n

with ` at <group.layer>` behind the part for every place of a shared codebook but its first, and ` behind <book.group>`
for a projection that stands behind all layers, which follows the last codebook of its book and group; the number is `-`
where codes are a fixed grid. All other output projections are in no combined digest.

Input projections come last, in the order of book, group and layer, one in front of all layers first. `codebook`
combines all codebooks with these output projections, `projection` the input projections, and `vq_encoder` what
`codebook` does and then the input projections. Where codes are a fixed grid and no output projection counts there is no
`codebook`; where what stands in front is not known, or is known to be missing, there is no `vq_encoder`.

Names of tensors, file format and the width in which a value is stored are not part of any digest.
"""

import hashlib
from typing import Final

from vqcheck.checkpoint.stored_tensor import ITEM_SIZE
from vqcheck.codebook.family import Role
from vqcheck.codebook.float_bytes import WIDENED, narrowed, widen
from vqcheck.codebook.vq_encoder import Codebook, InFront, RoleTensor, VQEncoder
from vqcheck.errors import NoCodebookError
from vqcheck.language import tr
from vqcheck.quick_dataclass import quick_dataclass

F32V1: Final = "sha256-f32v1"
F16V1: Final = "sha256-f16v1"
BF16V1: Final = "sha256-bf16v1"
ALGORITHMS: Final = (F32V1, F16V1, BF16V1)

_ROUNDED_TO: Final = {F16V1: "float16", BF16V1: "bfloat16"}
_NAN: Final = {"float16": 0x7E00, "bfloat16": 0x7FC0}
_ONE_ZERO: Final = frozenset({"float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"})
"""Types whose highest bit alone is not a negative zero."""


@quick_dataclass(frozen=True, slots=True)
class Digest:
    """A digest and the name of the rules it was made by."""

    algorithm: str
    hex: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"

    @property
    def short(self) -> str:
        """The first 12 hexadecimal digits, enough to tell a handful of files apart."""
        return self.hex[:12]


@quick_dataclass(frozen=True, slots=True)
class EncoderDigests:
    """The digests of one VQ encoder under one algorithm."""

    tensors: tuple[tuple[str, Digest], ...]
    """(label, digest) of each tensor, in canonical order."""
    codebook: Digest | None
    """None when codes are a fixed grid, of which nothing is stored, and nothing behind a lookup counts."""
    projection: Digest | None
    """None when the file stores no input projection."""
    vq_encoder: Digest | None
    """None when the file leaves an input projection of its family out, or the layout is an unknown one, of which nobody
    knows what stands in front: half a VQ encoder has no digest."""

    @property
    def widest(self) -> Digest:
        """The digest of as much of the VQ encoder as the file holds.

        Raises:
            NoCodebookError: it holds nothing of it.

        """
        digest = self.vq_encoder or self.codebook or self.projection
        if digest is None:
            raise NoCodebookError(tr("nothing of the VQ encoder is stored, so that it has no digest"))
        return digest


class Hasher:
    """The digest of one tensor, fed piece by piece with its stored bytes.

    Every piece but the last holds whole elements.
    """

    def __init__(self, tensor: RoleTensor, algorithm: str) -> None:
        self._algorithm = algorithm
        self._tensor = tensor
        self._flag = bytearray() if tensor.role == Role.INIT_FLAG else None
        stored = tensor.tensor.dtype
        self._rounds = _ROUNDED_TO.get(algorithm, "") if stored in WIDENED | {"float32", "float64"} else ""
        # Only all values together say whether float64 can be narrowed.
        self._kept = bytearray() if stored == "float64" and not self._rounds and self._flag is None else None
        self._state = None if self._kept is not None else self._start(self._element_type(stored))

    def _element_type(self, stored: str) -> str:
        if self._flag is not None:
            return "bool"
        return self._rounds or ("float32" if stored in WIDENED else stored)

    def _start(self, element_type: str) -> "hashlib._Hash":
        shape = "x".join(map(str, self._tensor.shape)) or "scalar"
        header = f"{self._algorithm} {self._tensor.name_of_part} {element_type} {shape}\n"
        return hashlib.sha256(header.encode("ascii"))

    def update(self, piece: bytes | bytearray) -> None:
        """Take in the next stored bytes."""
        if self._flag is not None:
            self._flag += set_flags(piece, self._tensor.tensor.dtype)
        elif self._state is None or self._kept is not None:
            self._kept = self._kept or bytearray()
            self._kept += piece
        elif self._rounds:
            self._state.update(rounded_to(piece, self._tensor.tensor.dtype, self._rounds))
        else:
            self._state.update(widen(piece, self._tensor.tensor.dtype))

    def digest(self) -> Digest:
        """Return the digest of everything taken in; call it once."""
        state = self._state
        if state is None:
            kept = self._kept or b""
            narrow = narrowed(kept)
            state = self._start("float64" if narrow is None else "float32")
            state.update(kept if narrow is None else narrow)
        if self._flag is not None:
            state.update(self._flag)
        return Digest(self._algorithm, state.hexdigest())


def tensor_digest(tensor: RoleTensor, data: bytes | bytearray, algorithm: str) -> Digest:
    """Return the digest of one tensor, given its stored bytes."""
    hasher = Hasher(tensor, algorithm)
    hasher.update(data)
    return hasher.digest()


def combine(encoder: VQEncoder, by_tensor: dict[RoleTensor, Digest], algorithm: str) -> EncoderDigests:
    """Return all digests of a VQ encoder, given those of its tensors."""
    behind = [tensor for tensor in encoder.projection if tensor.role == Role.OUTPUT_PROJ and tensor.token_relevant]
    codebook_lines: list[str] = []
    for number, codebook in enumerate(encoder.codebooks):
        codebook_lines += [_line(str(number), tensor, by_tensor[tensor]) for tensor in codebook.tensors]
        if codebook.tied:
            places = " ".join(f"{group}.{layer}" for _, group, layer in (codebook.place, *codebook.tied))
            codebook_lines.append(f"{number} tied {places}\n")
        following = encoder.codebooks[number + 1 :]
        here, behind = _split(behind, codebook, is_last=all(_row(other) != _row(codebook) for other in following))
        codebook_lines += [_line(str(number), tensor, by_tensor[tensor], _where(tensor, codebook)) for tensor in here]
    codebook_lines += [_line("-", tensor, by_tensor[tensor], _where(tensor, None)) for tensor in behind]
    inputs = [tensor for tensor in encoder.projection if tensor.role == Role.INPUT_PROJ]
    projection_lines = [_line("-", tensor, by_tensor[tensor]) for tensor in inputs]
    return EncoderDigests(
        tensors=tuple((encoder.label(tensor), by_tensor[tensor]) for tensor in encoder.tensors),
        codebook=_combined(codebook_lines, algorithm) if codebook_lines else None,
        projection=_combined(projection_lines, algorithm) if inputs else None,
        vq_encoder=_combined(codebook_lines + projection_lines, algorithm)
        if encoder.in_front == InFront.STORED
        else None,
    )


def set_flags(data: bytes | bytearray, dtype: str) -> bytes:
    """Return a byte for each stored init flag: 1 where it is set."""
    width = ITEM_SIZE[dtype]
    return bytes(_is_set(data[start : start + width], dtype) for start in range(0, len(data), width))


def _is_set(data: bytes | bytearray, dtype: str) -> bool:
    """Say whether a flag is taken for true: any number but zero, whose sign says nothing."""
    if dtype in _ONE_ZERO or "float" not in dtype:
        return any(data)
    width = ITEM_SIZE[dtype]
    return any(byte & 0x7F if index % width == width - 1 else byte for index, byte in enumerate(data))


def _line(number: str, tensor: RoleTensor, digest: Digest, where: str = "") -> str:
    return f"{number} {tensor.name_of_part}{where} {digest.hex}\n"


def _row(codebook: Codebook) -> tuple[int, int]:
    """Return book and group: the layers that one projection may stand behind."""
    return codebook.place[:2]


def _split(behind: list[RoleTensor], codebook: Codebook, *, is_last: bool) -> tuple[list[RoleTensor], list[RoleTensor]]:
    """Return (output projections that belong to a codebook, those that do not); the last one has those behind all."""
    places = (codebook.place, *codebook.tied)
    here = [
        tensor
        for tensor in behind
        if tensor.place[:3] in places or (is_last and tensor.layer < 0 and tensor.place[:2] == _row(codebook))
    ]
    return here, [tensor for tensor in behind if tensor not in here]


def _where(tensor: RoleTensor, codebook: Codebook | None) -> str:
    if tensor.layer < 0:
        return f" behind {tensor.book}.{tensor.group}"
    if codebook and tensor.place[:3] == codebook.place:
        return ""
    return f" at {tensor.group}.{tensor.layer}"


def _combined(lines: list[str], algorithm: str) -> Digest:
    return Digest(algorithm, hashlib.sha256("".join(lines).encode("ascii")).hexdigest())


def rounded_to(data: bytes | bytearray, stored: str, target: str) -> bytes:
    """Return the little-endian bytes of float values in 16 bits: to nearest, ties to even, one NaN for all."""
    import numpy as np

    if stored == target:
        rounded = np.frombuffer(data, "<u2").copy()
    else:
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            wide = np.frombuffer(widen(data, stored), "<f8" if stored == "float64" else "<f4").astype("<f4")
            if target == "float16":
                rounded = wide.astype("<f2").view("<u2")
            else:
                bits = wide.view("<u4")
                # A NaN may lose its payload in the addition, and is replaced anyway.
                rounded = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2")
                rounded[np.isnan(wide)] = _NAN[target]
    magnitude, infinity = rounded & 0x7FFF, 0x7C00 if target == "float16" else 0x7F80
    rounded[magnitude > infinity] = _NAN[target]
    return rounded.tobytes()
