"""What further state dicts of a file hold of a codec: averages of its parameters alone, or what belongs in front of it.

An average of parameters has the projections and not the codebook, which is a buffer; who loads it gets the model's
codebook behind the average's projection. A model saved module by module has its projection in a dictionary of its own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.checkpoint.second_hand import SECOND_HAND, second_hand
from vqcheck.codebook.copies import Copy, CopyName
from vqcheck.codebook.family import ANYTHING, LOOK_ALIKES, Role
from vqcheck.codebook.tensor_names import unwrapped
from vqcheck.codebook.vq_encoder import Codebook, RoleTensor, VQEncoder
from vqcheck.errors import CheckpointError
from vqcheck.language import tr


def averages_of_parameters(checkpoint: Checkpoint, copies: Sequence[Copy]) -> Iterator[Copy]:
    """Yield further copies of what parameters a codec has that stand in the file without a codebook of their own.

    They go by the codec's names, or, in an average beside the model, by these without their dots.
    """
    taken = {(copy.file.keys, tensor.tensor.name) for copy in copies for tensor in copy.encoder.tensors}
    firsts = {copy.encoder.family: copy for copy in reversed(copies)}
    for first in firsts.values():
        wanted = _Wanted(first)
        for file in checkpoint.state_dicts:
            found: dict[str, list[RoleTensor]] = {}
            for name in wanted.likely(file):
                if (file.keys, name) in taken:
                    continue
                place = wanted.place(file, name)
                if place is not None:
                    prefix, tensor = place
                    found.setdefault(prefix, []).append(tensor)
            for prefix, tensors in found.items():
                yield Copy((CopyName(file.keys, prefix),), file, _encoder(first.encoder, prefix, tensors))


class _Wanted:
    """What an average of one copy's parameters may hold of it."""

    def __init__(self, first: Copy) -> None:
        self._first = first
        self._own = unwrapped(f"{first.encoder.prefix}x")[:-1]
        tensors = [
            (unwrapped(tensor.tensor.name), tensor)
            for tensor in first.encoder.tensors
            # What is read in another order than it is stored in is no parameter of any codec.
            if tensor.token_relevant and tensor.tensor.stride == first.file.tensors[tensor.tensor.name].stride
        ]
        has_codebook = bool(first.encoder.codebooks)
        self._dotted = {
            name.removeprefix(self._own): tensor
            for name, tensor in tensors
            if has_codebook and tensor.role in (Role.INPUT_PROJ, Role.OUTPUT_PROJ)
        }
        self._dotless = {name.replace(".", ""): tensor for name, tensor in tensors if "." in name}
        self._endings = tuple({rest.rpartition(".")[2] for rest in self._dotted} | self._dotless.keys())

    def likely(self, file: Checkpoint) -> Iterator[str]:
        """Yield the few names of a state dict that are worth a look."""
        if not self._endings:
            return
        is_own = file.keys == self._first.file.keys
        if is_own and not _has_word("\n".join(file.tensors)):
            return  # what holds for all names together need not be asked of each
        for name in file.tensors:
            if name.endswith(self._endings) and (not is_own or _has_word(name)):
                yield name

    def place(self, file: Checkpoint, name: str) -> tuple[str, RoleTensor] | None:
        """Return (prefix, the tensor in its part), or None where a name only looks like one."""
        plain = unwrapped(name)
        if any(f"{module}." in plain for module in LOOK_ALIKES):
            return None
        is_own = file.keys == self._first.file.keys
        rest = next((rest for rest in self._dotted if f".{plain}".endswith(f".{rest}")), None)
        if rest is not None:
            prefix, known = plain.removesuffix(rest), self._dotted[rest]
            fits = bool(second_hand(prefix.split("."))) or (not is_own and prefix in ("", self._own))
        else:
            rest = plain.rpartition(".")[2]
            if rest not in self._dotless:
                return None
            prefix, known = plain.removesuffix(rest), self._dotless[rest]
            fits = bool(second_hand((*(() if is_own else file.keys), *prefix.split("."))))
        tensor = file.tensors[name]
        shape = self._first.file.tensors[known.tensor.name].shape
        return (prefix, replace(known, tensor=tensor)) if fits and tensor.shape == shape else None


def _has_word(names: str) -> bool:
    lower = names.lower()
    return any(word in lower for word in SECOND_HAND)


def _encoder(whole: VQEncoder, prefix: str, tensors: Sequence[RoleTensor]) -> VQEncoder:
    """Return what these tensors are of a VQ encoder."""
    by_place = {tensor.place: tensor for tensor in tensors}
    books = [
        Codebook(tuple(by_place[tensor.place] for tensor in book.tensors if tensor.place in by_place), book.tied)
        for book in whole.codebooks
        if book.codes.place in by_place
    ]
    layers = tuple(tensor for tensor in tensors if tensor.role in (Role.INPUT_PROJ, Role.OUTPUT_PROJ))
    return replace(whole, prefix=prefix, codebooks=tuple(books), projection=layers, also_found=())


def require_whole(checkpoint: Checkpoint, copies: Sequence[Copy]) -> None:
    """Raise CheckpointError where a codebook stands alone, and what belongs in front of one in another state dict."""
    if len(checkpoint.state_dicts) < 2:
        return
    taken = {(copy.file.keys, tensor.tensor.name) for copy in copies for tensor in copy.encoder.tensors}
    for copy in copies:
        lacking = {
            module
            for module in copy.encoder.family.in_front
            if not any(f".{module}." in f".{tensor.tensor.name}" for tensor in copy.encoder.tensors)
        }
        for file in checkpoint.state_dicts if lacking else ():
            if file.keys == copy.file.keys:
                continue
            for name in file.tensors:
                full = ".".join((*file.keys, unwrapped(name)))
                if (file.keys, name) in taken or any(f".{module}." in f".{full}" for module in LOOK_ALIKES):
                    continue
                if not lacking.isdisjoint(full.split(".")[:-1]):
                    raise CheckpointError(
                        tr(
                            "stands in another dictionary than the codebook ('{name}'), so it is not clear "
                            "whether it belongs in front of it; save the whole model's state_dict()",
                            name=copy.name,
                        ),
                        checkpoint.path,
                        full,
                    )


def unplaced_dictionary(checkpoint: Checkpoint, copy: Copy, copies: Sequence[Copy]) -> str:
    """Return what is not known to be elsewhere than in front of a copy's codebook, in its dictionary or in another.

    Where the codebook's own dictionary holds the encoder, features come from there.
    """
    encoder = copy.encoder
    known = (*encoder.family.encoders, *encoder.family.behind)
    own = tuple(f"{encoder.prefix}{module}." for module in encoder.family.encoders)
    if encoder.unplaced or encoder.family.structural or ANYTHING in known:
        return encoder.unplaced
    if own and any(name.startswith(own) for name in copy.file.tensors):
        return ""
    taken = {(one.file.keys, tensor.tensor.name) for one in copies for tensor in one.encoder.tensors}
    for file in checkpoint.state_dicts if len(checkpoint.state_dicts) > 1 else ():
        is_known = file.keys == copy.file.keys or not set(file.keys).isdisjoint(known)
        if is_known or second_hand(file.keys) != second_hand(copy.file.keys):
            continue
        if any((file.keys, name) not in taken for name in file.tensors):
            return ".".join(file.keys)
    return ""
