"""What several JSON documents hold in the same form: digests with the name of their rules, and copies."""

from typing import TYPE_CHECKING, Any

from vqcheck.codebook.comparison import Comparison
from vqcheck.codebook.digest import Digest, EncoderDigests

if TYPE_CHECKING:
    from vqcheck.experiment.check_lock import LockCheck


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
