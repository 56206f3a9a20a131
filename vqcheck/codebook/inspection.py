"""What one checkpoint is: its format, its model, its VQ encoder with digests, and the codebook's health."""

import math
from collections import Counter
from typing import Final

from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook import digest, file_record, health, model
from vqcheck.codebook.copies import Copies, Copy
from vqcheck.codebook.copy_verdict import relation
from vqcheck.codebook.digest import EncoderDigests
from vqcheck.codebook.family import Family
from vqcheck.codebook.find import find_copies
from vqcheck.codebook.float_bytes import not_finite
from vqcheck.codebook.inspection_result import BookSummary, EncoderSummary, Inspection, TensorSummary
from vqcheck.codebook.vq_encoder import Codebook, RoleTensor, VQEncoder
from vqcheck.errors import NoCodebookError

_NO_DIGESTS: Final = EncoderDigests((), None, None, None)


def inspect(
    checkpoint: Checkpoint, own: tuple[Family, ...] = (), copy: str = "", *, by_index: bool = False
) -> Inspection:
    """Return what an open checkpoint is; a file without a codebook is described too.

    `own` are rows of the user's that are tried before the family table; `copy` names the one copy to describe.
    `by_index` leaves out what takes the values: digests, health, and how copies stand to each other.

    Raises:
        CheckpointError: a tensor of the VQ encoder cannot be read.
        UsageError: there is no copy of that name.

    """
    why_none = ""
    try:
        held = find_copies(checkpoint, own)
    except NoCodebookError:
        why_none = model.why_no_codebook(checkpoint)
        held = Copies(str(checkpoint.path), (), ())
    copies = held.choose(copy) if copy else held
    summaries = [_summarise(each, _first_of_codec(each, copies), is_read=not by_index) for each in copies.sound]
    used = copies.sound[0].file if copies.sound else checkpoint.state_dicts[0]
    holding = {name.keys for each in held.sound for name in each.names} | {each.name.keys for each in held.unreadable}
    types = Counter(tensor.dtype for tensor in used.tensors.values())
    return Inspection(
        path=str(checkpoint.path),
        format=checkpoint.format,
        header_code=checkpoint.header_code,
        container=used.container,
        other_containers=tuple(
            file.container
            for file in checkpoint.state_dicts
            if file is not used and file.keys not in holding and not _is_figures(file)
        ),
        classes=checkpoint.classes,
        module_classes=checkpoint.module_classes,
        missing_files=checkpoint.missing_files,
        precision=tuple(types.most_common()),
        model=model.identify(used),
        training=model.training(checkpoint),
        record=file_record.record(checkpoint),
        vq_encoder=summaries[0] if summaries else None,
        others=tuple(summaries[1:]),
        unreadable=copies.unreadable,
        why_none=why_none,
    )


def _is_figures(file: Checkpoint) -> bool:
    """Say whether a mapping holds single numbers alone, as a trainer's callback keeps its scores: no model does."""
    return all(math.prod(tensor.shape) == 1 for tensor in file.tensors.values())


def _first_of_codec(copy: Copy, copies: Copies) -> Copy:
    return next(each for each in copies.sound if each.encoder.family is copy.encoder.family)


def _summarise(copy: Copy, first: Copy, *, is_read: bool) -> EncoderSummary:
    checkpoint, encoder = copy.file, copy.encoder
    data = {tensor: checkpoint.read(tensor.tensor) for tensor in encoder.tensors if is_read}
    digests = {
        algorithm: digest.combine(
            encoder,
            {tensor: digest.tensor_digest(tensor, content, algorithm) for tensor, content in data.items()},
            algorithm,
        )
        if is_read
        else _NO_DIGESTS
        for algorithm in digest.ALGORITHMS
    }
    return EncoderSummary(
        copy=copy.name,
        aliases=tuple(map(str, copy.names[1:])),
        against="" if copy is first else first.name,
        relation="" if copy is first or not is_read else relation(first, copy),
        family=encoder.family.name,
        title=encoder.family.title,
        prefix=encoder.prefix,
        is_shadow=encoder.is_shadow,
        structural=encoder.family.structural,
        in_front=encoder.in_front,
        unplaced=encoder.unplaced,
        derivation=encoder.family.derivation,
        books=_books(encoder),
        tensors=tuple(_tensor(encoder, tensor) for tensor in encoder.tensors),
        is_read=is_read,
        codebooks=tuple(
            health.examine(encoder.family, codebook, data, encoder.where(codebook.place))
            for codebook in encoder.codebooks
            if is_read
        ),
        projection_not_finite=sum(
            not_finite(data[tensor], tensor.tensor.dtype)
            for tensor in encoder.projection
            if is_read and tensor.token_relevant
        ),
        f32=digests[digest.F32V1],
        f16=digests[digest.F16V1],
        bf16=digests[digest.BF16V1],
    )


def _tensor(encoder: VQEncoder, tensor: RoleTensor) -> TensorSummary:
    return TensorSummary(
        label=encoder.label(tensor),
        place=encoder.where(tensor.place[:3]),
        book=encoder.name_of_book(tensor.book),
        name=tensor.tensor.name,
        dtype=tensor.tensor.dtype,
        shape=tensor.tensor.shape,
    )


def _books(encoder: VQEncoder) -> tuple[BookSummary, ...]:
    """Return a line for each quantizer; one whose codebooks differ in size has a line for each size."""
    alike: dict[tuple[int, tuple[int, ...]], list[Codebook]] = {}
    for codebook in encoder.codebooks:
        alike.setdefault((codebook.place[0], codebook.codes.shape), []).append(codebook)
    return tuple(
        BookSummary(
            name=encoder.name_of_book(book),
            codebooks=sum(1 + len(codebook.tied) for codebook in codebooks),
            stored=len(codebooks),
            heads=heads,
            codes=codes,
            dim=dim,
        )
        for (book, (heads, codes, dim)), codebooks in alike.items()
    )
