"""What further state dicts of a file hold of a codec: averages of its parameters alone, or what belongs in front of it.

An average of parameters has the projections and not the codebook, which is a buffer; who loads it gets the model's
codebook behind the average's projection. A model saved module by module has its projection in a dictionary of its own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from vqcheck.checkpoint.container import SECOND_HAND, second_hand
from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook.copies import Copy
from vqcheck.codebook.copy_name import CopyName
from vqcheck.codebook.family import INPUT_PROJ, LOOK_ALIKES
from vqcheck.codebook.vq_encoder import RoleTensor
from vqcheck.codebook.wrappers import unwrapped
from vqcheck.errors import CheckpointError


def averages_of_parameters(checkpoint: Checkpoint, copies: Sequence[Copy]) -> Iterator[Copy]:
    """Yield further copies of a codec's projections that stand in the file without a codebook, one for each place."""
    taken = {(copy.file.keys, tensor.tensor.name) for copy in copies for tensor in copy.encoder.tensors}
    firsts = {copy.encoder.family: copy for copy in reversed(copies)}
    for first in firsts.values():
        own = unwrapped(f"{first.encoder.prefix}x")[:-1]
        wanted = {
            unwrapped(tensor.tensor.name).removeprefix(own): tensor
            for tensor in first.encoder.projection
            if tensor.role == INPUT_PROJ
        }
        if not wanted or not first.encoder.codebooks:
            continue
        endings = tuple({rest.rpartition(".")[2] for rest in wanted})
        for file in checkpoint.state_dicts:
            is_own = file.keys == first.file.keys
            found: dict[str, list[RoleTensor]] = {}
            for name in file.tensors:
                if not name.endswith(endings) or (is_own and not any(word in name.lower() for word in SECOND_HAND)):
                    continue
                plain = unwrapped(name)
                if (file.keys, name) in taken or any(f"{module}." in plain for module in LOOK_ALIKES):
                    continue
                rest = next((rest for rest in wanted if f".{plain}".endswith(f".{rest}")), None)
                if rest is None:
                    continue
                prefix = plain.removesuffix(rest)
                told = bool(second_hand(prefix.split(".")))
                tensor = file.tensors[name]
                fits = tensor.shape == wanted[rest].tensor.shape
                if fits and (told or (not is_own and prefix in ("", own))):
                    found.setdefault(prefix, []).append(replace(wanted[rest], tensor=tensor))
            for prefix, tensors in found.items():
                encoder = replace(first.encoder, prefix=prefix, codebooks=(), projection=tuple(tensors), also_found=())
                yield Copy((CopyName(file.keys, prefix),), file, encoder)


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
                        f"{checkpoint.path}: {full}: stands in another dictionary than the codebook ('{copy.name}'), "
                        "so whether it belongs in front of it cannot be told; save the whole model's state_dict()"
                    )
