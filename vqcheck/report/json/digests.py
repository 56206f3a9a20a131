"""Digests in JSON documents: always with the name of the rules they were made by."""

from typing import Any

from vqcheck.codebook.digest import Digest, EncoderDigests


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
