"""One copy of a VQ encoder in a lock: what is recorded of it, and the lines that say so."""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, Final

from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook import digest
from vqcheck.codebook.copies import CopyName, Labelled
from vqcheck.codebook.digest import ALGORITHMS, Digest, EncoderDigests
from vqcheck.codebook.family import CODEBOOK_ROLES, Role
from vqcheck.codebook.vq_encoder import RoleTensor, VQEncoder
from vqcheck.language import tr

PARTS: Final = ("codebook", "projection", "vq_encoder")
"""What has a combined digest."""
_KNOWN: Final[dict[tuple[object, ...], tuple[str, tuple[Digest, ...]]]] = {}
"""What follows from a tensor's bytes, by all that it follows from."""
_MOST_KNOWN: Final = 1_000
_DIGEST: Final = re.compile(r"([a-z0-9-]+):([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class LockedTensor:
    """One tensor of the VQ encoder."""

    label: str
    precision: str
    """The narrowest float type that holds every value, or `flag`."""
    digests: tuple[Digest, ...]

    def digest(self, algorithm: str) -> Digest | None:
        """Return the digest by this algorithm, if the lock has one."""
        return next((digest for digest in self.digests if digest.algorithm == algorithm), None)


@dataclass(frozen=True, slots=True)
class LockedEncoder:
    """One copy of a VQ encoder."""

    family: str
    tensors: tuple[LockedTensor, ...]
    wholes: tuple[tuple[str, Digest], ...]
    """(`codebook`, `projection` or `vq_encoder`; digest), one for each algorithm."""
    names: tuple[CopyName, ...] = ()
    """Where it was in its file; empty where there was no other and none was chosen."""
    is_noise: bool = False
    """It differed from the first copy of its codec by no more than averaging equals leaves."""

    @property
    def name(self) -> str:
        """What it is called; a file's only copy goes by no name."""
        return str(self.names[0]) if self.names else ""

    @property
    def label(self) -> Labelled:
        roles = {tensor.label.rpartition(" ")[2].partition(".")[0] for tensor in self.tensors}
        return Labelled(self.family, self.names, has_codebook=not CODEBOOK_ROLES.isdisjoint(roles))

    def whole(self, part: str, algorithm: str) -> Digest | None:
        """Return the combined digest of a part, if the lock has it."""
        return next((digest for name, digest in self.wholes if (name, digest.algorithm) == (part, algorithm)), None)

    def lines(self) -> list[str]:
        """Return what stands in the lock of it, beside its names."""
        lines = [f"family {self.family}", *(f"{part} {digest}" for part, digest in self.wholes)]
        for tensor in self.tensors:
            lines += [f"tensor {tensor.label} {tensor.precision} {digest}" for digest in tensor.digests]
        return lines


def record(checkpoint: Checkpoint, encoder: VQEncoder) -> tuple[dict[str, LockedTensor], tuple[EncoderDigests, ...]]:
    """Return (label -> locked tensor, combined digests by each algorithm)."""
    locked: dict[str, LockedTensor] = {}
    digests: dict[str, dict[RoleTensor, Digest]] = {algorithm: {} for algorithm in ALGORITHMS}
    for tensor in encoder.tensors:
        label = encoder.label(tensor)
        precision, of_tensor = _recorded(tensor, checkpoint.read(tensor.tensor))
        for found, each in zip(digests.values(), of_tensor, strict=True):
            found[tensor] = each
        locked[label] = LockedTensor(label, precision, of_tensor)
    checkpoint.check_unchanged()
    return locked, tuple(digest.combine(encoder, found, algorithm) for algorithm, found in digests.items())


def _recorded(tensor: RoleTensor, data: bytes | bytearray) -> tuple[str, tuple[Digest, ...]]:
    """Return precision and digests of one tensor; of many files with the same bytes they are calculated once."""
    stored = tensor.tensor
    key = (tensor.role, tensor.part, tensor.shape, stored.dtype, stored.shape, hashlib.sha256(data).digest())
    if key not in _KNOWN:
        if len(_KNOWN) >= _MOST_KNOWN:
            _KNOWN.clear()
        digests = tuple(digest.tensor_digest(tensor, data, algorithm) for algorithm in ALGORITHMS)
        _KNOWN[key] = _precision(tensor, data), digests
    return _KNOWN[key]


def _precision(tensor: RoleTensor, data: bytes | bytearray) -> str:
    """Return the narrowest type that holds every value: what the tensor was last rounded to."""
    if tensor.role == Role.INIT_FLAG:
        return "flag"
    from vqcheck.codebook.rounding import precision
    from vqcheck.codebook.values import as_array

    return precision(as_array(tensor, data))


class EncoderLines:
    """The lines on one copy of the VQ encoder."""

    def __init__(self) -> None:
        self._families: dict[str, str] = {}
        self._wholes: dict[tuple[str, str], Digest] = {}
        self._tensors: dict[str, tuple[str, dict[str, Digest]]] = {}
        self._names: dict[CopyName, None] = {}
        self._noise: dict[str, bool] = {}

    def read(self, fact: str, line: str) -> None:
        """Take in a line, given without what says which copy it is of."""
        kind, _, rest = fact.partition(" ")
        if kind == "family" and rest:
            put(self._families, kind, rest, line)
        elif kind == "noise" and not rest and fact != line:
            put(self._noise, kind, True, line)
        elif kind == "name" and fact != line:
            put(self._names, _copy_name(rest), None, line)
        elif kind in PARTS:
            digest = parse_digest(rest)
            put(self._wholes, (kind, digest.algorithm), digest, line)
        elif kind == "tensor":
            words = rest.rsplit(" ", 2)
            if len(words) != 3:
                raise ValueError(tr("line {line!r:.80}", line=line))
            label, precision, digest = words[0], words[1], parse_digest(words[2])
            known_precision, digests = self._tensors.setdefault(label, (precision, {}))
            if known_precision != precision:
                raise ValueError(tr("tensor {label} has two precisions", label=label))
            put(digests, digest.algorithm, digest, line)
        else:
            raise ValueError(tr("line {line!r:.80}", line=line))

    def encoder(self) -> LockedEncoder:
        """Return what the lines say; raises ValueError where one is missing."""
        if not self._families:
            raise ValueError(tr("no line '{kind}'", kind="family"))
        if not self._tensors or not self._wholes:
            raise ValueError(tr("no digests"))
        return LockedEncoder(
            self._families["family"],
            tuple(
                LockedTensor(label, precision, tuple(found.values()))
                for label, (precision, found) in self._tensors.items()
            ),
            tuple((part, digest) for (part, _), digest in self._wholes.items()),
            tuple(self._names),
            bool(self._noise),
        )


def put(target: dict[Any, Any], key: object, value: object, line: str) -> None:
    """Record what a line says; raises ValueError where another one said it."""
    if key in target:
        raise ValueError(tr("line {line!r:.80} says something a second time", line=line))
    target[key] = value


def parse_digest(text: str) -> Digest:
    """Return the digest in a line; raises ValueError where there is none."""
    match = _DIGEST.fullmatch(text)
    if not match:
        raise ValueError(tr("{text!r:.80} is not a digest", text=text))
    return Digest(match[1], match[2])


def _copy_name(text: str) -> CopyName:
    try:
        keys, prefix = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        keys, prefix = None, None
    if not (isinstance(keys, list) and all(isinstance(key, str) for key in keys) and isinstance(prefix, str)):
        raise ValueError(tr("{text!r:.80} is not the name of a copy", text=text))
    return CopyName(tuple(keys), prefix)
