"""A live module in the form that the family table reads: so a model in memory is judged as its checkpoint would be."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

import torch
from torch import Tensor, nn

from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.checkpoint.stored_tensor import Extent, StoredTensor, contiguous_stride
from vqcheck.codebook.digest import F32V1, EncoderDigests, combine, tensor_digest
from vqcheck.codebook.family import Role
from vqcheck.codebook.find import find_vq_encoder
from vqcheck.codebook.vq_encoder import RoleTensor
from vqcheck.errors import CheckpointError, VqcheckError
from vqcheck.live.encoder import LiveEncoder, is_sharded


class ModuleCheckpoint(Checkpoint):
    """A module's state dict as an open checkpoint; bytes are copied from the device when they are read."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self._state = {name: tensor.detach() for name, tensor in module.state_dict().items()}
        tensors, first_names = {}, dict[object, str]()
        for name, tensor in self._state.items():
            shape = tuple(tensor.shape)
            # what several names lead to is one tensor, as it is in a file
            place: object = name
            if tensor.numel() and not _why_unreadable(tensor):
                start = (tensor.untyped_storage().data_ptr(), tensor.storage_offset(), shape, tensor.stride())
                place = (*start, tensor.is_neg(), tensor.is_conj())
            first = first_names.setdefault(place, name)
            extent = Extent(first, 0, tensor.numel() * tensor.element_size())
            dtype = str(tensor.dtype).removeprefix("torch.")
            tensors[name] = StoredTensor(name, dtype, shape, contiguous_stride(shape), 0, extent)
        super().__init__([], type(module).__name__, "live module", tensors, lambda *_: bytearray())

    @cached_property
    def has_optimizer(self) -> bool:
        """Count as a training state: whatever it was loaded from is earlier."""
        return True

    def is_same_file(self, other: Checkpoint) -> bool:
        """Say whether both are of one module."""
        return isinstance(other, ModuleCheckpoint) and other.module is self.module

    def pieces(self, tensor: StoredTensor) -> Iterator[bytes]:
        """Yield what `read` returns."""
        yield self.read(tensor)

    def head(self, size: int) -> bytes:  # noqa: ARG002 - no file, no beginning
        """Return nothing: a module in memory has no file."""
        return b""

    def require_stored(self, tensors: Iterable[StoredTensor]) -> None:
        """Do nothing: what is in memory claims no more than it has."""

    def require_readable(self, tensor: StoredTensor) -> None:
        """Raise CheckpointError where this process does not have the values."""
        reason = _why_unreadable(self._state[tensor.name])
        if reason:
            raise CheckpointError(reason, self.path, tensor.name)

    def read(self, tensor: StoredTensor) -> bytes:
        """Return the tensor's elements in the order of its strides, which may be transposed; little-endian."""
        self.require_readable(tensor)
        value = self._state[tensor.name].resolve_conj().resolve_neg()
        value = value.contiguous().as_strided(tensor.shape, tensor.stride).cpu()
        return _bytes(value.contiguous())


def _bytes(value: Tensor) -> bytes:
    # numpy has no bfloat16, so bytes are what is handed over
    data: bytes = value.reshape(-1).view(torch.uint8).numpy().tobytes()
    return data


def _why_unreadable(tensor: Tensor) -> str:
    if tensor.is_meta:
        return "is on the meta device and has no values yet: load the weights first"
    if tensor.layout != torch.strided:
        return f"has the layout {str(tensor.layout).removeprefix('torch.')}: compare it as a dense tensor"
    return "is sharded over processes (DTensor): compare the checkpoint instead" if is_sharded(tensor) else ""


def tensor_digests(encoder: LiveEncoder, values: Mapping[str, Tensor]) -> dict[str, str]:
    """Return label -> digest of what counts, from values by name: labels and digests are those of a file of them."""
    found = {}
    for each in encoder.tensors:
        value = each.canonical(values[each.name]).contiguous().cpu()
        shape, dtype = tuple(value.shape), str(value.dtype).removeprefix("torch.")
        extent = Extent(each.name, 0, value.numel() * value.element_size())
        stored = StoredTensor(each.name, dtype, shape, contiguous_stride(shape), 0, extent)
        tensor = RoleTensor(Role(each.role), each.part, *each.place, stored, each.shape)
        found[str(each.label)] = str(tensor_digest(tensor, _bytes(value), F32V1))
    return found


def digests(module: nn.Module) -> EncoderDigests:
    """Return the digests of the module's VQ encoder, the same that a checkpoint of it would have."""
    live = ModuleCheckpoint(module)
    encoder = find_vq_encoder(live)
    by_tensor = {tensor: tensor_digest(tensor, live.read(tensor.tensor), F32V1) for tensor in encoder.tensors}
    return combine(encoder, by_tensor, F32V1)


def digests_left(module: nn.Module) -> EncoderDigests:
    """Return the digests of a module that had a VQ encoder; empty ones where it is not whole any more."""
    try:
        return digests(module)
    except VqcheckError:
        return EncoderDigests((), None, None, None)
