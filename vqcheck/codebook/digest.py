r"""The digests of a VQ encoder: the same for the same stored values, whatever the file around them.

Specification of `sha256-f32v1` and `sha256-f16v1`
--------------------------------------------------
A *tensor digest* is the SHA-256 of a header line and the data that follows it. The header is ASCII:

    <algorithm> <role> <element type> <shape>\\n

- role: `codes`, `ema_sum`, `ema_count`, `init_flag`, or a role and its part such as `input_proj.weight`. Weight norm
  has the parts `g` and `v` in each of torch's spellings. Values that are calculated when the codec runs have no digest.
- shape: the canonical shape, lengths joined with `x` (`1x1024x768`), or `scalar`. Codes and sums are
  `[heads, codes, dim]` and counts `[heads, codes]`, also where the file stores them in another order.
- data: C order, little-endian. `init_flag` is one byte, 1 when any of its stored bytes is not zero, with the element
  type `bool`. Every other tensor:
  - `sha256-f32v1`: float16, bfloat16 and float8 widened to `float32`, which loses nothing; float32, float64 and integer
    types as they are stored. NaN payloads and the sign of zero count.
  - `sha256-f16v1`: rounded to `float16`, to nearest, ties to even, overflow to infinity; float64 is rounded to
    float32 first; every NaN becomes 0x7e00. Integer types as they are stored.

A *combined digest* is the SHA-256 of one ASCII line for each tensor, in order:

    <codebook number> <role> <tensor digest in hexadecimal>\\n

Codebooks are numbered from 0 in the order of the family row: book, then group, then layer as a number; projections
have `-` for a number. Within a codebook roles come in the order codes, ema_sum, ema_count, init_flag, code_transform,
and parts in the order weight, g, v, bias, then by name. A codebook that several layers share counts once; the line

    <codebook number> tied <group.layer of each place, separated by spaces>\\n

follows it then. Projections come last, in the order of book, group and layer, one in front of all layers first.
`codebook` combines all codebooks, `projection` the input projections, and `vq_encoder` codebooks and then input
projections. `output_proj` decides no token and is in none. Where codes are a fixed grid there is no `codebook`.

Names of tensors, file format and the width in which a value is stored are not part of any digest.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from vqcheck.codebook.family import INIT_FLAG, INPUT_PROJ
from vqcheck.codebook.vq_encoder import RoleTensor, VQEncoder
from vqcheck.codebook.widen import WIDENED, widen
from vqcheck.errors import NoCodebookError

F32V1: Final = "sha256-f32v1"
F16V1: Final = "sha256-f16v1"

_NAN16: Final = 0x7E00


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class EncoderDigests:
    """The digests of one VQ encoder under one algorithm."""

    tensors: tuple[tuple[str, Digest], ...]
    """(label, digest) of each tensor, in canonical order."""
    codebook: Digest | None
    """None when codes are a fixed grid of which nothing is stored."""
    projection: Digest | None
    """None when the file stores no input projection."""
    vq_encoder: Digest | None
    """None when the file leaves an input projection of its family out: half a VQ encoder has no digest."""

    @property
    def widest(self) -> Digest:
        """The digest of as much of the VQ encoder as the file holds.

        Raises:
            NoCodebookError: it holds nothing of it.

        """
        digest = self.vq_encoder or self.codebook or self.projection
        if digest is None:
            raise NoCodebookError("nothing of the VQ encoder is stored, so that it has no digest")
        return digest


class Hasher:
    """The digest of one tensor, fed piece by piece with its stored bytes.

    Every piece but the last holds whole elements.
    """

    def __init__(self, tensor: RoleTensor, algorithm: str) -> None:
        self._algorithm = algorithm
        self._flag = False if tensor.role == INIT_FLAG else None
        self._element_type = tensor.tensor.dtype
        if self._flag is not None:
            element_type = "bool"
        elif algorithm == F16V1 and self._element_type in WIDENED | {"float32", "float64"}:
            element_type = "float16"
        else:
            element_type = "float32" if self._element_type in WIDENED else self._element_type
        shape = "x".join(map(str, tensor.shape)) or "scalar"
        self._state = hashlib.sha256(f"{algorithm} {tensor.name_of_part} {element_type} {shape}\n".encode("ascii"))
        self._rounds = element_type == "float16"

    def update(self, piece: bytes | bytearray) -> None:
        """Take in the next stored bytes."""
        if self._flag is not None:
            self._flag = self._flag or any(piece)
        elif self._rounds:
            self._state.update(_round_to_float16(piece, self._element_type))
        else:
            self._state.update(widen(piece, self._element_type))

    def digest(self) -> Digest:
        """Return the digest of everything taken in; call it once."""
        if self._flag is not None:
            self._state.update(bytes([self._flag]))
        return Digest(self._algorithm, self._state.hexdigest())


def tensor_digest(tensor: RoleTensor, data: bytes | bytearray, algorithm: str) -> Digest:
    """Return the digest of one tensor, given its stored bytes."""
    hasher = Hasher(tensor, algorithm)
    hasher.update(data)
    return hasher.digest()


def combine(encoder: VQEncoder, by_tensor: dict[RoleTensor, Digest], algorithm: str) -> EncoderDigests:
    """Return all digests of a VQ encoder, given those of its tensors."""
    codebook_lines: list[str] = []
    for number, codebook in enumerate(encoder.codebooks):
        codebook_lines += [_line(str(number), tensor, by_tensor[tensor]) for tensor in codebook.tensors]
        if codebook.tied:
            places = " ".join(f"{group}.{layer}" for _, group, layer in (codebook.place, *codebook.tied))
            codebook_lines.append(f"{number} tied {places}\n")
    inputs = [tensor for tensor in encoder.projection if tensor.role == INPUT_PROJ]
    projection_lines = [_line("-", tensor, by_tensor[tensor]) for tensor in inputs]
    whole = bool(inputs) or not encoder.family.projects
    return EncoderDigests(
        tensors=tuple((encoder.label(tensor), by_tensor[tensor]) for tensor in encoder.tensors),
        codebook=_combined(codebook_lines, algorithm) if codebook_lines else None,
        projection=_combined(projection_lines, algorithm) if inputs else None,
        vq_encoder=_combined(codebook_lines + projection_lines, algorithm) if whole else None,
    )


def _line(number: str, tensor: RoleTensor, digest: Digest) -> str:
    return f"{number} {tensor.name_of_part} {digest.hex}\n"


def _combined(lines: list[str], algorithm: str) -> Digest:
    return Digest(algorithm, hashlib.sha256("".join(lines).encode("ascii")).hexdigest())


def _round_to_float16(data: bytes | bytearray, element_type: str) -> bytes:
    import numpy as np

    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        if element_type == "float16":
            rounded = np.frombuffer(data, "<u2").copy()
        else:
            wide = np.frombuffer(widen(data, element_type), "<f8" if element_type == "float64" else "<f4")
            rounded = wide.astype("<f4").astype("<f2").view("<u2")
    rounded[(rounded & 0x7FFF) > 0x7C00] = _NAN16
    return rounded.tobytes()
