"""From features to tokens: what a checkpoint holds for it, and the projection and nearest code in float32."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook import digest, health, model
from vqcheck.codebook.comparison import Scope, Verdict
from vqcheck.codebook.copies import Copy
from vqcheck.codebook.copy_verdict import relation
from vqcheck.codebook.digest import EncoderDigests
from vqcheck.codebook.family import Derivation, Family, Metric, Role
from vqcheck.codebook.find import find_copies
from vqcheck.codebook.values import Array, as_array
from vqcheck.codebook.vq_encoder import RoleTensor, VQEncoder
from vqcheck.errors import UsageError
from vqcheck.language import tr

Tokens = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Features:
    """The speech features of one recording; or why there are none."""

    item: str
    values: Array | None
    """`[channels, time]`"""
    problem: str = ""


@dataclass(frozen=True, eq=False)
class InputProjection:
    """A convolution whose stride equals its kernel, so that each output frame is one matrix product."""

    weight: Array
    """`[channels out, channels in, kernel]`"""
    bias: Array | None
    """`[channels out]`"""

    def patches(self, features: Array) -> Array:
        """Return the values under each position of the kernel, `[time // kernel, channels in x kernel]`.

        What is left over at the end of features `[channels in, time]` is dropped.
        """
        _, channels, kernel = self.weight.shape
        steps = features.shape[1] // kernel
        values = features[:, : steps * kernel].reshape(channels, steps, kernel).transpose(1, 0, 2)
        patches: Array = values.reshape(steps, channels * kernel).astype(np.float32, copy=False)
        return patches

    def frames(self, patches: Array) -> Array:
        """Return the frames `[time // kernel, channels out]` that the lookup gets."""
        frames: Array = patches @ self.weight.reshape(len(self.weight), -1).T
        return frames if self.bias is None else frames + self.bias


def nearest_codes(frames: Array, codes: Array) -> Tokens:
    """Return the number of the nearest code for each of frames `[time, dim]`, codes being `[codes, dim]`.

    |x - e|^2 = |x|^2 - 2 x.e + |e|^2, of which the first term is the same for all codes.
    """
    tokens: Tokens = np.argmin(np.einsum("ij,ij->i", codes, codes) - 2 * (frames @ codes.T), axis=1)
    return tokens


def only_copy(checkpoint: Checkpoint, own: tuple[Family, ...] = (), chosen: str = "") -> Copy:
    """Return the copy of the codec that is judged first; `chosen` names one.

    Raises:
        NoCodebookError, CheckpointError: the file holds none, or none can be read.
        UsageError: it holds several that do not decide the same tokens, or none of that name.

    """
    copies = find_copies(checkpoint, own, chosen)
    first, *others = copies.sound
    names = ", ".join(copies.names)
    for each in copies.unreadable:
        raise UsageError(
            tr(
                "its copy '{name}' cannot be read ({why}); name the one to use with --copy ({names})",
                name=str(each.name),
                why=each.why,
                names=names,
            ),
            copies.path,
        )
    for other in others:
        same_codec = other.encoder.family is first.encoder.family
        if same_codec and relation(first, other, Scope.TOKENS) not in (
            Verdict.IDENTICAL,
            Verdict.WITHIN_ULPS,
            Verdict.NOISE,
        ):
            raise UsageError(
                tr(
                    "its copies '{name}' and '{other}' are not the same; name the one to use with --copy ({names})",
                    name=str(first.name),
                    other=str(other.name),
                    names=names,
                ),
                copies.path,
            )
    return first


@dataclass(frozen=True, eq=False)
class Tokenizer:
    """The VQ encoder of one checkpoint as arrays."""

    path: str
    family: str
    digests: EncoderDigests
    """Under `sha256-f32v1`."""
    projection: InputProjection
    codes: Array
    """`[codes, dim]`, float32"""


@dataclass(frozen=True, eq=False)
class Lookup:
    """The part of a VQ encoder that decides tokens."""

    codes: Array
    """`[codes, dim]`, float32"""
    projection: InputProjection | None
    """None where the file stores none."""


def lookup(checkpoint: Checkpoint, encoder: VQEncoder, data: Mapping[RoleTensor, bytes | bytearray]) -> Lookup:
    """Return what turns features into tokens, given the stored bytes of a VQ encoder.

    Raises:
        UsageError: tokens are not derived for such a VQ encoder.

    """
    if not _is_one_stored_codebook(encoder):
        raise UsageError(tr("tokens are derived for one codebook looked up by distance, not for this"), checkpoint.path)
    stored = encoder.codebooks[0].codes
    codes = as_array(stored, data[stored])[0].astype(np.float32, copy=False)
    parts = {
        t.part: as_array(t, data[t]).astype(np.float32, copy=False)
        for t in encoder.projection
        if t.role == Role.INPUT_PROJ
    }
    if not parts:
        return Lookup(codes, None)
    weight = parts.get("weight")
    if weight is None or weight.ndim != 3 or weight.shape[0] != codes.shape[1]:
        raise UsageError(
            tr("its projection is not a convolution of one step per token, so tokens cannot be derived"),
            checkpoint.path,
        )
    return Lookup(codes, InputProjection(weight, parts.get("bias")))


def _is_one_stored_codebook(encoder: VQEncoder) -> bool:
    if (encoder.family.derivation, encoder.family.metric) != (Derivation.STORED, Metric.EUCLIDEAN) or len(
        encoder.codebooks
    ) != 1:
        return False
    codebook = encoder.codebooks[0]
    return not codebook.tied and codebook.codes.shape[0] == 1


def read_tokenizer(checkpoint: Checkpoint, copy: str = "") -> Tokenizer:
    """Return the tokenizer of an open checkpoint; `copy` names one where the file holds several that differ.

    Raises:
        NoCodebookError: the file holds no VQ encoder.
        UsageError: it holds one that derives no tokens: without its projection, of several codebooks, never trained.

    """
    used = only_copy(checkpoint, chosen=copy)
    checkpoint, encoder = used.file, used.encoder
    if any(health.never_trained(checkpoint, codebook) for codebook in encoder.codebooks[:1]):
        raise UsageError(tr("its codebook was never trained, so it derives no tokens"), checkpoint.path)
    data = {tensor: checkpoint.read(tensor.tensor) for tensor in encoder.tensors}
    found = lookup(checkpoint, encoder, data)
    projection = found.projection
    if projection is None:
        raise UsageError(_why_no_projection(checkpoint), checkpoint.path)
    arrays = (found.codes, projection.weight, projection.bias)
    if not all(array is None or np.isfinite(array).all() for array in arrays):
        raise UsageError(tr("its VQ encoder holds NaN or infinity, so it derives no tokens"), checkpoint.path)
    digests = {tensor: digest.tensor_digest(tensor, content, digest.F32V1) for tensor, content in data.items()}
    return Tokenizer(
        str(checkpoint.path),
        encoder.family.name,
        digest.combine(encoder, digests, digest.F32V1),
        projection,
        found.codes,
    )


def _why_no_projection(checkpoint: Checkpoint) -> str:
    base = model.base_model(checkpoint)
    if model.identify(checkpoint).kind == "s2 LoRA export":
        return tr(
            "is a LoRA export without the projection (ssl_proj) in front of the lookup, so it derives no tokens; give "
            "{base} instead",
            base=base,
        )
    return tr(
        "is a file without the projection (ssl_proj) in front of the lookup, so it derives no tokens; give {base} "
        "instead",
        base=base,
    )
