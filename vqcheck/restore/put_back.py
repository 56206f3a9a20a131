"""Puts the VQ encoder of a base into a file whose own has drifted, and touches nothing else of it."""

from collections.abc import Mapping
from typing import Final

from vqcheck.atomic_write import atomic_write
from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.checkpoint.rewrite import differs_elsewhere, edits_for, write_copy
from vqcheck.checkpoint.stored_tensor import StoredTensor
from vqcheck.codebook.digest import F32V1, Digest, EncoderDigests, combine, rounded_to, tensor_digest
from vqcheck.codebook.family import CODEBOOK_ROLES, Role
from vqcheck.codebook.find import find_copies, find_vq_encoder
from vqcheck.codebook.float_bytes import WIDENED, not_finite, widen
from vqcheck.codebook.rounding_loss import spoilt_in_use
from vqcheck.codebook.vq_encoder import BookPlace, Place, RoleTensor, VQEncoder
from vqcheck.errors import CheckpointError, UsageError
from vqcheck.language import listed, tr, word
from vqcheck.restore.result import Restoration, RestoredPart, RestoredTensor

_FLOATS: Final = {"float64": "<f8", "float32": "<f4", "float16": "<f2"}
"""Element types that numpy has, too."""
_FLAGS: Final = {**_FLOATS, "bool": "?", "uint8": "u1", "int32": "<i4", "int64": "<i8"}
"""Those that a flag is stored as."""
_PROJECTION: Final = (Role.INPUT_PROJ, Role.OUTPUT_PROJ)


def put_back(
    base: Checkpoint, file: Checkpoint, out: str, part: RestoredPart = RestoredPart.ALL, copies: tuple[str, ...] = ()
) -> Restoration:
    """Write a copy of `file` to `out` that has the VQ encoder of `base`, in the precision that `file` stores.

    `copies` name the copy of each file, or of both, where they hold several. The copy is read back before it gets its
    name: its VQ encoder is the base's, and every other byte is the file's.

    Raises:
        NoCodebookError, CheckpointError: a file holds no VQ encoder, or cannot be read.
        UsageError: the two do not fit each other, a value does not fit the file's type, or `out` cannot be written.

    """
    names = copies * 2 if len(copies) == 1 else copies or ("", "")
    _require_new(out, (base, file))
    source, target = _encoder(base, names[0]), _encoder(file, names[1])
    if source.family.name != target.family.name:
        raise UsageError(
            tr(
                "holds the VQ encoder of another codec ({family}) than {base} ({expected})",
                family=target.family.name,
                base=base.path,
                expected=source.family.name,
            ),
            file.path,
        )
    values, restored = _values(base, source, file, target, part)
    if not values:
        raise UsageError(tr("stores no {part} that could be put back", part=word(part)), file.path)
    before = _digests(file, target)
    edits = edits_for(file, values)
    try:
        with atomic_write(out) as stream:
            write_copy(file, edits, stream)
            stream.flush()
            with open_checkpoint(stream.name) as copy:
                after = _read_back(file, copy, target, values, edits)
                if part is not RestoredPart.PROJECTION:
                    _require_no_loss(base, source, copy, target)
    except OSError as error:
        raise UsageError(tr("cannot be written: {strerror}", strerror=error.strerror), out) from None
    left = [source.label(tensor) for place, tensor in source.by_place().items() if place not in target.by_place()]
    return Restoration(
        base.path,
        file.path,
        out,
        target.family.name,
        part,
        restored,
        tuple(dict.fromkeys(left)),
        before,
        after,
    )


def _require_new(out: str, inputs: tuple[Checkpoint, ...]) -> None:
    """Raise UsageError where `out` is a file that is read, or may be: a shard of the base is one, too."""
    for checkpoint in inputs:
        for each in checkpoint.files:
            if each.is_at(out):
                raise UsageError(tr("is what this command reads; the output must go to another file"), out)
    if "vqcheck" in inputs[-1].information and inputs[-1].format == "safetensors":
        raise UsageError(
            tr("is a VQ encoder that was extracted, and says so with its digests; extract the base's instead"),
            inputs[-1].path,
        )


def _encoder(checkpoint: Checkpoint, copy: str) -> VQEncoder:
    """Return the one VQ encoder of a file; where it holds several, the one of that name.

    Raises:
        UsageError: it holds several, and none was named.

    """
    held = find_copies(checkpoint)
    if len(held.names) > 1 and not copy:
        raise UsageError(
            tr("holds several VQ encoders ({names}); --copy NAME chooses one", names=listed(held.names, last="")),
            checkpoint.path,
        )
    chosen = copy if len(held.names) > 1 or not copy or held.holds(copy) else ""
    return find_vq_encoder(checkpoint, copy=chosen)


def _values(
    base: Checkpoint, source: VQEncoder, file: Checkpoint, target: VQEncoder, part: RestoredPart
) -> tuple[dict[StoredTensor, bytes], tuple[RestoredTensor, ...]]:
    """Return the new values of each tensor of the file that is to be the base's.

    Raises:
        UsageError: the base lacks one, or has it in another shape.

    """
    have = source.by_place()
    _require_same_books(base, source, file, target)
    values: dict[StoredTensor, bytes] = {}
    restored = []
    for tensor in target.tensors:
        if not _is_of(tensor, part):
            continue
        label, given = target.label(tensor), have.get(tensor.place)
        if given is None:
            raise UsageError(
                tr(
                    "does not store {tensor}, which {file} has; the two store the VQ encoder in different forms",
                    tensor=label,
                    file=file.path,
                ),
                base.path,
            )
        if given.shape != tensor.shape:
            raise UsageError(
                tr(
                    "has another shape of {tensor}: {stored}, and {base} has {expected}",
                    tensor=label,
                    stored=list(tensor.shape),
                    base=base.path,
                    expected=list(given.shape),
                ),
                file.path,
            )
        old = bytes(file.read(tensor.tensor))
        new = _converted(bytes(base.read(given.tensor)), given, tensor, label, file.path)
        values[tensor.tensor] = new
        widened = given.tensor.dtype in WIDENED and tensor.tensor.dtype in ("float32", "float64")
        as_it_is = widened or given.tensor.dtype == tensor.tensor.dtype or tensor.role == Role.INIT_FLAG
        rounded = "" if as_it_is else given.tensor.dtype
        restored.append(RestoredTensor(label, tensor.tensor.name, tensor.tensor.dtype, rounded, old != new))
    return values, tuple(restored)


def _require_same_books(base: Checkpoint, source: VQEncoder, file: Checkpoint, target: VQEncoder) -> None:
    """Raise UsageError where the file lacks a codebook of the base, or shares one that the base stores twice."""
    have, want = source.by_place(), target.by_place()
    lacks = next((t for place, t in have.items() if t.role in CODEBOOK_ROLES and place[:3] not in _books(want)), None)
    if lacks:
        raise UsageError(tr("lacks {tensor}, which {base} has", tensor=source.label(lacks), base=base.path), file.path)
    for codebook in target.codebooks:
        for tensor in codebook.tensors:
            tied = [have.get((*place, tensor.role, tensor.part)) for place in codebook.tied]
            first = have.get(tensor.place)
            if first and any(each is None or base.read(each.tensor) != base.read(first.tensor) for each in tied):
                raise UsageError(
                    tr(
                        "shares {tensor} among layers that differ in {base}",
                        tensor=target.label(tensor),
                        base=base.path,
                    ),
                    file.path,
                )


def _books(places: Mapping[Place, RoleTensor]) -> set[BookPlace]:
    return {place[:3] for place, tensor in places.items() if tensor.role in CODEBOOK_ROLES}


def _is_of(tensor: RoleTensor, part: RestoredPart) -> bool:
    return part is RestoredPart.ALL or (tensor.role in _PROJECTION) == (part is RestoredPart.PROJECTION)


def _converted(data: bytes, given: RoleTensor, tensor: RoleTensor, label: str, path: str) -> bytes:
    """Return the base's values in the type that the file stores: widened, or rounded to nearest.

    Raises:
        UsageError: there is no such conversion, or a value would become infinite.

    """
    stored, wanted = given.tensor.dtype, tensor.tensor.dtype
    if stored == wanted:
        return data
    import numpy as np

    if tensor.role == Role.INIT_FLAG and wanted in _FLAGS and stored in (*_FLAGS, "float16"):
        # Zero is zero in every one of these types, but for the sign.
        flag = np.frombuffer(data, _FLAGS.get(stored, "<f2")).astype("?")
        return flag.astype(_FLAGS[wanted]).tobytes()
    if stored not in (*_FLOATS, *WIDENED) or wanted not in (*_FLOATS, "bfloat16"):
        raise UsageError(
            tr(
                "stores {tensor} as {dtype}, to which {stored} is not converted",
                tensor=label,
                dtype=wanted,
                stored=stored,
            ),
            path,
        )
    wide = np.frombuffer(widen(data, stored), _FLOATS.get("float32" if stored in WIDENED else stored))
    with np.errstate(over="ignore"):
        if wanted == "bfloat16":
            new = rounded_to(wide.astype("<f4").tobytes(), "float32", wanted)
        else:
            new = wide.astype(_FLOATS[wanted]).tobytes()
    if not_finite(new, wanted) > not_finite(data, stored):
        raise UsageError(
            tr(
                "stores {tensor} as {dtype}, in which a value of the base would be infinite", tensor=label, dtype=wanted
            ),
            path,
        )
    return new


def _require_no_loss(base: Checkpoint, source: VQEncoder, copy: Checkpoint, target: VQEncoder) -> None:
    """Raise UsageError where rounding made codes in use zero, infinite or equal: they would be others to a lookup."""
    pairs = {codebook.place: codebook for codebook in target.codebooks}
    for codebook in source.codebooks:
        if codebook.place not in pairs:
            continue
        other = pairs[codebook.place]
        if other.codes.tensor.dtype == codebook.codes.tensor.dtype:
            continue
        if spoilt_in_use(copy, target.family, other) > spoilt_in_use(base, source.family, codebook):
            dtype = other.codes.tensor.dtype
            raise UsageError(
                tr("codes in use would become zero, infinite or equal in {dtype}, as the file has it", dtype=dtype)
            )


def _digests(checkpoint: Checkpoint, encoder: VQEncoder) -> EncoderDigests:
    found: dict[RoleTensor, Digest] = {
        tensor: tensor_digest(tensor, checkpoint.read(tensor.tensor), F32V1) for tensor in encoder.tensors
    }
    return combine(encoder, found, F32V1)


def _read_back(
    file: Checkpoint, copy: Checkpoint, target: VQEncoder, values: dict[StoredTensor, bytes], edits: dict[int, bytes]
) -> EncoderDigests:
    """Return the digests of the copy, once it was seen to be what it should be: its index is the file's, byte by byte.

    Raises:
        CheckpointError: it is not; nothing is kept of it.

    """
    read = all(bytes(copy.read(tensor)) == data for tensor, data in values.items())
    if not read or differs_elsewhere(file, copy, edits):
        raise CheckpointError(tr("the copy does not hold what was written, and was not kept"), file.path)
    return _digests(copy, target)
