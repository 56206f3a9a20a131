"""What several JSON documents hold in the same form: results as they are, digests with their rules, and copies."""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from vqcheck.codebook.comparison import Comparison
from vqcheck.codebook.digest import Digest, EncoderDigests

if TYPE_CHECKING:
    from vqcheck.audit.lock_result import LockCheck


def digest_object(digest: Digest | None) -> str | None:
    """Return `algorithm:hex`, or None where there is no digest."""
    return str(digest) if digest else None


def digests_object(digests: EncoderDigests) -> dict[str, Any]:
    """Return the digests of one VQ encoder."""
    return {
        "codebook": digest_object(digests.codebook),
        "projection": digest_object(digests.projection),
        "vq_encoder": digest_object(digests.vq_encoder),
        "tensors": {label: digest_object(digest) for label, digest in digests.tensors},
    }


def copies_object(found: "Comparison | LockCheck") -> dict[str, Any]:
    """Return the copies of two files, or of a lock (a) and a file (b): which were compared, which have no partner."""
    return {
        "pairs": [
            {"codec": pair.family, "a": pair.a, "b": pair.b, "verdict": pair.verdict, "guessed": pair.guessed}
            for pair in found.pairs
        ],
        "unpaired": [
            {
                "file": copy.side.lower(),
                "codec": copy.family,
                "name": copy.name,
                "judged": copy.judged,
                "verdict": copy.verdict,
                "why": copy.why,
                "equal": copy.equal,
            }
            for copy in found.lone
        ],
        "equal": [{"a": each.a, "b": each.b} for each in found.equal],
    }


def named(thing: object, names: str) -> dict[str, Any]:
    """Return some fields of a result, whose names stand in a row, under these names."""
    return {name: plain_object(getattr(thing, name)) for name in names.split()}


def plain_object(value: object) -> Any:
    """Return a result in the types of JSON: fields by name, lists, words, and null for a number that is not finite."""
    if value is None or type(value) in (bool, int, str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if is_dataclass(value):
        return {field.name: plain_object(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain_object(each) for key, each in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain_object(each) for each in value]
    return value.value if isinstance(value, Enum) else value
