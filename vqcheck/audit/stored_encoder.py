"""One checkpoint's VQ encoder read once: its digests, health, and what the file says of itself."""

import os
import re
from dataclasses import dataclass
from typing import Any, Final

from vqcheck.audit.earlier import Stored
from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.codebook import health
from vqcheck.codebook.comparison import IDENTICAL, CopyPair, titles
from vqcheck.codebook.copies import Copies
from vqcheck.codebook.digest import F32V1, Digest, combine, tensor_digest
from vqcheck.codebook.family import Family
from vqcheck.codebook.find import find_copies
from vqcheck.codebook.finite import not_finite
from vqcheck.codebook.kind import FileKind, record
from vqcheck.codebook.pairs import in_common
from vqcheck.codebook.vq_encoder import RoleTensor
from vqcheck.errors import CheckpointError, NoCodebookError

_EXPORT: Final = re.compile(r"(.+)_e\d+_s\d+(?:_l(\d+))?", flags=re.ASCII)
_WITHOUT_STEP: Final = (FileKind.BASE, FileKind.UNKNOWN)


@dataclass(frozen=True)
class StoredEncoder:
    """One checkpoint with a codebook."""

    stored: Stored
    digest_of: str
    trained: bool
    ailments: tuple[str, ...]
    config: Any
    """The configuration that the file itself holds, as exports do."""

    @property
    def voice(self) -> str:
        """Whose export it is, by its name or else by its configuration; empty for other files."""
        named = voice_of(self.stored.name)
        own = self.config.get("name") if isinstance(self.config, dict) else None
        return named or (own if isinstance(own, str) and self.stored.record.kind is FileKind.EXPORT else "")

    @property
    def has_step(self) -> bool:
        return self.stored.record.kind not in _WITHOUT_STEP


def voice_of(name: str) -> str:
    """Return whose export a file is by its name; runs of different ranks are different ones of the same voice."""
    match = _EXPORT.fullmatch(os.path.splitext(name)[0])
    if match is None:
        return ""
    return f"{match[1]} (LoRA rank {match[2]})" if match[2] else match[1]


def read_encoder(path: str, own: tuple[Family, ...] = (), copy: str = "") -> StoredEncoder:
    """Return what a checkpoint stores; `own` are rows of the user's, `copy` names the copy to judge alone.

    Raises:
        CheckpointError: the file cannot be read.
        NoCodebookError: it holds no codebook.
        UsageError: it has no copy of that name.

    """
    with open_checkpoint(path) as checkpoint:
        held = find_copies(checkpoint, own)
        chosen = _chosen(held, copy)
        copies = held.choose(chosen[0]) if chosen else held
        for each in copies.unreadable:
            raise CheckpointError(
                f"{path}: its copy '{each.name}' cannot be read: {each.why}; --copy NAME chooses another"
            )
        encoders = tuple(each.encoder for each in copies.sound)
        if not any(in_common(encoder, encoder) for encoder in encoders):
            raise NoCodebookError(f"{path}: holds no codebook")
        digests: dict[RoleTensor, Digest] = {}
        broken = 0
        for tensor in dict.fromkeys(tensor for encoder in encoders for tensor in encoder.tensors):
            data = checkpoint.read(tensor.tensor)
            digests[tensor] = tensor_digest(tensor, data, F32V1)
            broken += not_finite(data, tensor.tensor.dtype) if health.is_examined(tensor) else 0
        ailments = health.ailments_of(checkpoint, encoders, broken)
        checkpoint.check_unchanged()
        whole = combine(encoders[0], digests, F32V1)
        what, digest = next(
            (part, digest) for part in ("vq_encoder", "codebook", "projection") if (digest := getattr(whole, part))
        )
        stored = Stored(
            path,
            os.path.basename(path),
            encoders[0].family.name,
            record(checkpoint),
            digest,
            {
                f"{title} {encoder.label(tensor)}".strip(): (tensor.tensor.dtype, digests[tensor])
                for title, encoder in zip(_titles(copies), encoders, strict=True)
                for tensor in encoder.tensors
            },
            chosen,
        )
        trained = health.NEVER_TRAINED not in ailments
        others = tuple(ailment for ailment in ailments if ailment != health.NEVER_TRAINED)
        return StoredEncoder(stored, what, trained, others, checkpoint.information.get("config"))


def _titles(copies: Copies) -> list[str]:
    """Return what stands in front of the labels of each copy, as where two files are compared."""
    names = ((each.encoder.family.name, each.name) for each in copies.sound)
    return titles([CopyPair(family, name, name, IDENTICAL, guessed=False) for family, name in names])


def _chosen(held: Copies, copy: str) -> tuple[str, ...]:
    """Return the name of the copy to judge, if one was chosen: a file of one copy is judged by that."""
    if not copy:
        return ()
    return (held.names[0] if len(held.names) == 1 and not held.holds(copy) else copy,)
