"""Finds the VQ encoders among the named tensors of a checkpoint."""

from dataclasses import replace

from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.checkpoint.tensor import StoredTensor
from vqcheck.codebook.canonical import MisshapenError
from vqcheck.codebook.family import CODEBOOK_ROLES, Family
from vqcheck.codebook.found import Found, Match
from vqcheck.codebook.match import match
from vqcheck.codebook.vq_encoder import BookPlace, Codebook, RoleTensor, VQEncoder, is_lora
from vqcheck.errors import CheckpointError, NoCodebookError


def find_vq_encoder(checkpoint: Checkpoint, own: tuple[Family, ...] = ()) -> VQEncoder:
    """Return the VQ encoder of an open checkpoint; nothing but its index is read.

    Where the file holds several, this is the one to judge: a known codec before an unknown one, the model in use
    before a moving average of it, an outer one before an inner one. `also_found` names the others.

    Raises:
        NoCodebookError: the file holds none; the text says what it holds instead.
        CheckpointError: tensors under a VQ encoder's names, but of impossible shapes.

    """
    return find_vq_encoders(checkpoint, own)[0]


def find_vq_encoders(checkpoint: Checkpoint, own: tuple[Family, ...] = ()) -> tuple[VQEncoder, ...]:
    """Return every VQ encoder of an open checkpoint, the one to judge first.

    `own` are rows of the user's, which are tried before the family table.

    Raises:
        NoCodebookError: the file holds none; the text says what it holds instead.
        CheckpointError: tensors under a VQ encoder's names, but of impossible shapes.

    """
    try:
        matches = match({name: tensor.shape for name, tensor in checkpoint.tensors.items()}, own)
    except MisshapenError as error:
        raise CheckpointError(f"{checkpoint.path}: {error}") from None
    if not matches:
        from vqcheck.codebook import model

        raise NoCodebookError(f"{checkpoint.path}: {model.why_no_codebook(checkpoint)}")
    encoders = [_assemble(checkpoint, each) for each in matches]
    checkpoint.require_stored(tensor.tensor for encoder in encoders for tensor in encoder.tensors)
    others = tuple(each.prefix or each.family.title for each in encoders[1:])
    return (replace(encoders[0], also_found=others), *encoders[1:])


def _assemble(checkpoint: Checkpoint, found: Match) -> VQEncoder:
    books: dict[BookPlace, list[RoleTensor]] = {}
    projection: list[RoleTensor] = []
    for each in found.found:
        tensor = _role_tensor(checkpoint, each)
        if each.role in CODEBOOK_ROLES:
            books.setdefault((each.book, each.group, each.layer), []).append(tensor)
        else:
            projection.append(tensor)
    return VQEncoder(
        found.family,
        found.prefix,
        _tied_once(books),
        tuple(projection),
        is_lora(checkpoint.tensors),
        found.books,
        found.is_shadow,
    )


def _role_tensor(checkpoint: Checkpoint, found: Found) -> RoleTensor:
    tensor = checkpoint.tensors[found.name]
    if found.axes:
        shape, stride = (tuple(axes[axis] for axis in found.axes) for axes in (tensor.shape, tensor.stride))
        tensor = replace(tensor, shape=shape, stride=stride)
    return RoleTensor(
        found.role, found.part, found.book, found.group, found.layer, tensor, found.shape, found.token_relevant
    )


def _tied_once(books: dict[BookPlace, list[RoleTensor]]) -> tuple[Codebook, ...]:
    """Return the codebooks, those that several layers share only once."""
    kept: dict[object, BookPlace] = {}
    tied: dict[BookPlace, list[BookPlace]] = {}
    for place, tensors in books.items():
        first = kept.setdefault(
            tuple((tensor.role, tensor.part, _bytes_of(tensor.tensor)) for tensor in tensors), place
        )
        tied.setdefault(first, [])
        if first != place:
            tied[first].append(place)
    return tuple(Codebook(tuple(books[place]), tuple(places)) for place, places in tied.items())


def _bytes_of(tensor: StoredTensor) -> object:
    """Return what two tensors have in common that are the same bytes of the file."""
    extent = tensor.extent
    return extent.shard, extent.member, extent.start, tensor.offset, tensor.shape, tensor.stride, tensor.dtype
