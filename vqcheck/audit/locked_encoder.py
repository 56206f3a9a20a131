"""One copy of a VQ encoder in a lock: what is recorded of it, and the lines that say so."""

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from vqcheck.codebook.copies import CopyName, Labelled
from vqcheck.codebook.digest import Digest
from vqcheck.codebook.family import CODEBOOK_ROLES

PARTS: Final = ("codebook", "projection", "vq_encoder")
"""What has a combined digest."""
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
                raise ValueError(f"line {line!r:.80}")
            label, precision, digest = words[0], words[1], parse_digest(words[2])
            known_precision, digests = self._tensors.setdefault(label, (precision, {}))
            if known_precision != precision:
                raise ValueError(f"tensor {label} has two precisions")
            put(digests, digest.algorithm, digest, line)
        else:
            raise ValueError(f"line {line!r:.80}")

    def encoder(self) -> LockedEncoder:
        """Return what the lines say; raises ValueError where one is missing."""
        if not self._families:
            raise ValueError("no line 'family'")
        if not self._tensors or not self._wholes:
            raise ValueError("no digests")
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
        raise ValueError(f"line {line!r:.80} says something a second time")
    target[key] = value


def parse_digest(text: str) -> Digest:
    """Return the digest in a line; raises ValueError where there is none."""
    match = _DIGEST.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r:.80} is not a digest")
    return Digest(match[1], match[2])


def _copy_name(text: str) -> CopyName:
    try:
        keys, prefix = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        keys, prefix = None, None
    if not (isinstance(keys, list) and all(isinstance(key, str) for key in keys) and isinstance(prefix, str)):
        raise ValueError(f"{text!r:.80} is not the name of a copy")
    return CopyName(tuple(keys), prefix)
