"""Finds the VQ encoders, and every copy of them, among the named tensors of a checkpoint."""

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Final

from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.checkpoint.stored_tensor import StoredTensor
from vqcheck.codebook.canonical_shape import MisshapenError
from vqcheck.codebook.copies import Copies, Copy, CopyName, Unreadable
from vqcheck.codebook.family import CODEBOOK_ROLES, Family
from vqcheck.codebook.match import search
from vqcheck.codebook.matched_tensors import Found, Match, Matches
from vqcheck.codebook.other_state_dicts import averages_of_parameters, require_whole, unplaced_dictionary
from vqcheck.codebook.vq_encoder import BookPlace, Codebook, RoleTensor, VQEncoder, is_lora
from vqcheck.errors import CheckpointError, NoCodebookError, UsageError
from vqcheck.language import tr

_MOST_REMEMBERED: Final = 10_000
"""Names; what takes more memory is better found out again."""
_MOST_COPIES: Final = 256
"""No trainer writes more; each is compared with others."""


def find_vq_encoder(checkpoint: Checkpoint, own: tuple[Family, ...] = (), copy: str = "") -> VQEncoder:
    """Return the VQ encoder of an open checkpoint; nothing but its index is read.

    Where the file holds several copies, this is the one to judge: the model in use before an average of it, a known
    codec before an unknown one. `copy` names another; `also_found` are the names of those that were not taken.

    Raises:
        NoCodebookError: the file holds none; the text says what it holds instead.
        CheckpointError: tensors under a VQ encoder's names, but of impossible shapes.
        UsageError: there is no copy of that name.

    """
    first, *others = find_copies(checkpoint, own, copy).sound
    return replace(first.encoder, also_found=tuple(other.name for other in others))


def find_copies(checkpoint: Checkpoint, own: tuple[Family, ...] = (), chosen: str = "") -> Copies:
    """Return every copy of a VQ encoder in an open checkpoint; nothing but its index is read.

    `own` are rows of the user's, which are tried before the family table; `chosen` is the name of one copy.

    Raises:
        NoCodebookError: the file holds none; the text says what it holds instead.
        CheckpointError: none can be read: tensors of impossible shapes, unsupported types.
        UsageError: there is no copy of the chosen name, or none that any row of the user's fits.

    """
    found = [*_everywhere(checkpoint, own)]
    sound = [each for each in found if isinstance(each, Copy)]
    unreadable = [each for each in found if isinstance(each, Unreadable)]
    _require_found(checkpoint, sound)
    if not sound and unreadable:
        raise unreadable[0].error
    if not sound:
        from vqcheck.codebook import model

        raise NoCodebookError(model.why_no_codebook(checkpoint), checkpoint.path)
    if own and not any(copy.encoder.family in own for copy in sound):
        names = ", ".join(repr(family.name) for family in own)
        raise UsageError(
            tr(
                "holds no codes under the names of {names} of --family; without it, it is read as {family}",
                names=names,
                family=sound[0].encoder.family.name,
            ),
            checkpoint.path,
        )
    if len(found) > _MOST_COPIES:
        raise CheckpointError(tr("holds more than {most} copies of a VQ encoder", most=_MOST_COPIES), checkpoint.path)
    # However many copies claim the same bytes: what is read must follow what the file has.
    checkpoint.require_stored(tensor.tensor for copy in sound for tensor in copy.encoder.tensors)
    sound.sort(key=lambda copy: (copy.label.is_second_hand, copy.encoder.family.structural))
    require_whole(checkpoint, sound)
    sound = [
        replace(copy, encoder=replace(copy.encoder, unplaced=unplaced_dictionary(checkpoint, copy, sound)))
        for copy in sound
    ]
    broken = {each.name.keys for each in unreadable}
    for average in [each for each in averages_of_parameters(checkpoint, sound) if each.file.keys not in broken]:
        if error := _error_in(average):
            unreadable.append(Unreadable(average.names[0], error))
        else:
            sound.append(average)
    copies = Copies(str(checkpoint.path), _aliases_once(sound), tuple(unreadable))
    return copies.choose(chosen) if chosen else copies


def _require_found(checkpoint: Checkpoint, sound: list[Copy]) -> None:
    """Raise CheckpointError where a file of the checkpoint is missing that may hold a part of what was found.

    Of such a file the names of its tensors alone are known: what stands beside one that was found, or in its place in
    another layer, belongs to it.
    """
    if not checkpoint.missing_files:
        return
    near = {_module_of(tensor.tensor.name) for copy in sound for tensor in copy.encoder.tensors}
    for file in checkpoint.state_dicts:
        for name, tensor in file.tensors.items():
            if tensor.extent.shard in checkpoint.missing_files and (not sound or _module_of(name) in near):
                raise CheckpointError(tensor.problem, checkpoint.path, name)


def _module_of(name: str) -> str:
    """Return the module that a tensor belongs to, with every number in its name the same."""
    return re.sub(r"\d+", "0", name.rpartition(".")[0])


def _everywhere(checkpoint: Checkpoint, own: tuple[Family, ...]) -> Iterator[Copy | Unreadable]:
    for file in checkpoint.state_dicts:
        try:
            found = _search(file, own)
        except MisshapenError as error:
            found = Matches((), (error,))
        for match in found.sound:
            copy = Copy((CopyName(file.keys, match.prefix),), file, _assemble(file, match))
            broken = _error_in(copy)
            yield Unreadable(copy.names[0], broken) if broken else copy
        for misshapen in found.misshapen:
            # Of what is missing no shape is known.
            tensor = file.tensors.get(misshapen.member)
            missing = tensor.problem if tensor and tensor.extent.shard in checkpoint.missing_files else ""
            misfit = CheckpointError(missing or misshapen.reason, checkpoint.path, misshapen.member)
            yield Unreadable(CopyName(file.keys, ""), misfit)


def _search(file: Checkpoint, own: tuple[Family, ...]) -> Matches:
    shapes = {name: tensor.shape for name, tensor in file.tensors.items()}
    # The files of a run have the same names and shapes, and what follows from these alone is found out once.
    return _search_again(tuple(shapes.items()), own) if len(shapes) < _MOST_REMEMBERED else search(shapes, own)


@lru_cache(maxsize=8)
def _search_again(shapes: tuple[tuple[str, tuple[int, ...]], ...], own: tuple[Family, ...]) -> Matches:
    return search(dict(shapes), own)


def _error_in(copy: Copy) -> CheckpointError | None:
    """Return why a copy cannot be read, as far as the index shows it."""
    try:
        copy.file.require_stored(tensor.tensor for tensor in copy.encoder.tensors)
        for tensor in copy.encoder.tensors:
            copy.file.require_readable(tensor.tensor)
    except CheckpointError as error:
        return error
    return None


def _aliases_once(copies: list[Copy]) -> tuple[Copy, ...]:
    """Return the copies, those that are the same bytes of the file once, under all their names."""
    if len(copies) == 1:
        return tuple(copies)
    once: dict[object, Copy] = {}
    for copy in copies:
        bytes_ = frozenset((tensor.place, _bytes_of(tensor.tensor)) for tensor in copy.encoder.tensors)
        first = once.get((copy.encoder.family, bytes_))
        once[copy.encoder.family, bytes_] = replace(first, names=(*first.names, *copy.names)) if first else copy
    return tuple(once.values())


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
        unplaced=found.unplaced,
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
