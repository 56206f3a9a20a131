"""Reads from a checkpoint what it takes to turn features into tokens: the projection and the code vectors."""

from dataclasses import dataclass

import numpy as np

from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook import digest, health, model
from vqcheck.codebook.digest import EncoderDigests
from vqcheck.codebook.family import EUCLIDEAN, INPUT_PROJ
from vqcheck.codebook.find import find_vq_encoder
from vqcheck.codebook.tokens import Array, Projection
from vqcheck.codebook.values import as_array
from vqcheck.codebook.vq_encoder import VQEncoder
from vqcheck.errors import UsageError


@dataclass(frozen=True, eq=False)
class Tokenizer:
    """The VQ encoder of one checkpoint as arrays."""

    path: str
    family: str
    digests: EncoderDigests
    """Under `sha256-f32v1`."""
    projection: Projection
    codes: Array
    """`[codes, dim]`, float32"""


def read_tokenizer(checkpoint: Checkpoint) -> Tokenizer:
    """Return the tokenizer of an open checkpoint.

    Raises:
        NoCodebookError: the file holds no VQ encoder.
        UsageError: it holds one that derives no tokens: without its projection, of several codebooks, never trained.

    """
    encoder = find_vq_encoder(checkpoint)
    codebook = encoder.codebooks[0]
    if len(encoder.codebooks) > 1 or codebook.codes.shape[0] > 1 or encoder.family.metric != EUCLIDEAN:
        raise UsageError(f"{checkpoint.path}: tokens are derived for one codebook looked up by distance, not for this")
    if health.never_trained(checkpoint, codebook):
        raise UsageError(f"{checkpoint.path}: its codebook was never trained, so it derives no tokens")
    data = {tensor: checkpoint.read(tensor.tensor) for tensor in encoder.tensors}
    parts = {t.part: as_array(t, data[t]).astype(np.float32) for t in encoder.projection if t.role == INPUT_PROJ}
    codes = as_array(codebook.codes, data[codebook.codes])[0].astype(np.float32)
    weight = parts.get("weight")
    if weight is None or weight.ndim != 3 or weight.shape[0] != codes.shape[1]:
        raise UsageError(_why_no_projection(checkpoint, encoder))
    if not all(np.isfinite(array).all() for array in (codes, *parts.values())):
        raise UsageError(f"{checkpoint.path}: its VQ encoder holds NaN or infinity, so it derives no tokens")
    digests = {tensor: digest.tensor_digest(tensor, content, digest.F32V1) for tensor, content in data.items()}
    return Tokenizer(
        str(checkpoint.path),
        encoder.family.name,
        digest.combine(encoder, digests, digest.F32V1),
        Projection(weight, parts.get("bias")),
        codes,
    )


def _why_no_projection(checkpoint: Checkpoint, encoder: VQEncoder) -> str:
    if any(tensor.role == INPUT_PROJ for tensor in encoder.projection):
        return f"{checkpoint.path}: its projection is no convolution of one step per token, so tokens are not derived"
    kind = "a LoRA export" if encoder.is_lora else "a file"
    bases = model.published_bases(model.identify(checkpoint).version)
    name = f" ({' or '.join(bases)}, or what it was trained from)" if bases else ""
    return (
        f"{checkpoint.path}: is {kind} without the projection (ssl_proj) that comes before the lookup, so it derives "
        f"no tokens; give its base model{name} instead"
    )
