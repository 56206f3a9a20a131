"""Takes the VQ encoder out of a checkpoint into a small safetensors file, which every command reads."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from vqcheck.atomic_write import atomic_write
from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.checkpoint.stored_tensor import SAFETENSORS, StoredTensor
from vqcheck.codebook.digest import F32V1, Digest, combine, tensor_digest
from vqcheck.codebook.find import find_copies
from vqcheck.codebook.match import search
from vqcheck.codebook.model import base_model
from vqcheck.codebook.vq_encoder import RoleTensor, VQEncoder
from vqcheck.errors import UsageError
from vqcheck.language import listed, tr
from vqcheck.restore.result import Extraction

_ALIGNED: Final = 8
"""Bytes that a header of safetensors is a multiple of."""


def take_out(file: Checkpoint, out: str, copy: str = "") -> Extraction:
    """Write the VQ encoder of a file to `out`, under the names of its tensors without what stands in front of all.

    The metadata hold the codec family, what each tensor is, and the digests.

    Raises:
        NoCodebookError, CheckpointError: the file holds no VQ encoder, or cannot be read.
        UsageError: it holds several and none was named, or `out` cannot be written.

    """
    held = find_copies(file)
    if len(held.names) > 1 and not copy:
        raise UsageError(
            tr("holds several VQ encoders ({names}); --copy NAME chooses one", names=listed(held.names, last="")),
            file.path,
        )
    taken = (held.choose(copy) if len(held.names) > 1 else held).sound[0]
    encoder, stored = taken.encoder, taken.file.tensors
    spelled = {dtype: name for name, dtype in SAFETENSORS.items()}
    header: dict[str, object] = {}
    content = bytearray()
    found: dict[RoleTensor, Digest] = {}
    tensors = []
    shapes: dict[str, tuple[int, ...]] = {}
    aliases: dict[str, str] = {}
    for tensor in encoder.tensors:
        found[tensor] = tensor_digest(tensor, taken.file.read(tensor.tensor), F32V1)
        # As it is stored: the encoder's own has its axes in a canonical order.
        original = stored[tensor.tensor.name]
        name, *others = sorted(each.removeprefix(encoder.prefix) for each in _aliases(original, stored))
        # The library of safetensors keeps the first name, and notes the others in this way.
        aliases |= dict.fromkeys(others, name)
        if name in shapes:
            continue  # what several layers share is written once
        shapes[name] = original.shape
        data = taken.file.read(original)
        header[name] = {
            "dtype": spelled[tensor.tensor.dtype],
            "shape": list(original.shape),
            "data_offsets": [len(content), len(content) + len(data)],
        }
        content += data
        tensors.append((encoder.label(tensor), name, tensor.tensor.dtype))
    digests = combine(encoder, found, F32V1)
    parts = {part: getattr(digests, part) for part in ("codebook", "projection", "vq_encoder")}
    header["__metadata__"] = {
        **aliases,
        "format": "pt",
        "vqcheck": "vq encoder",
        "family": encoder.family.name,
        **{f"role.{name}": str(label) for label, name, _ in tensors},
        **{f"digest.{part}": str(digest) for part, digest in parts.items() if digest},
    }
    _require_found_again(file, encoder, {**shapes, **{other: shapes[name] for other, name in aliases.items()}})
    text = json.dumps(header).encode("ascii")
    text += b" " * (-len(text) % _ALIGNED)
    try:
        with atomic_write(out) as stream:
            stream.write(len(text).to_bytes(8, "little") + text + content)
    except OSError as error:
        raise UsageError(tr("cannot be written: {strerror}", strerror=error.strerror), out) from None
    return Extraction(file.path, out, encoder.family.name, tuple(tensors), digests)


def _require_found_again(file: Checkpoint, encoder: VQEncoder, shapes: dict[str, tuple[int, ...]]) -> None:
    """Raise UsageError where the tensors, without the rest of the file, would be read as another codec's."""
    if encoder.family.projects and not encoder.projection:
        base = base_model(file)
        raise UsageError(
            tr(
                "is a LoRA export without the projection in front of the lookup; "
                "extract the VQ encoder of {base} instead",
                base=base,
            )
            if encoder.is_lora
            else tr(
                "is a file without the projection in front of the lookup; extract the VQ encoder of {base} instead",
                base=base,
            ),
            file.path,
        )
    found = [match.family.name for match in search(shapes).sound]
    if found != [encoder.family.name]:
        raise UsageError(
            tr(
                "its VQ encoder ({family}) would be read as {codecs} without the rest of the file",
                family=encoder.family.name,
                codecs=listed(found) if found else tr("no codec"),
            ),
            file.path,
        )


def _aliases(tensor: StoredTensor, stored: Mapping[str, StoredTensor]) -> list[str]:
    """Return all names of a tensor; it has several where layers share it."""
    return [name for name, other in stored.items() if replace(other, name=tensor.name) == tensor]
