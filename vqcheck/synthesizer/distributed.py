"""The two collective operations of the codebook; without a process group each is nothing at all."""

from torch import Tensor, distributed


def is_distributed() -> bool:
    """Tell whether this is one of several processes of an initialised group."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def is_first_rank() -> bool:
    """Tell whether this process is the one whose random draws count."""
    return not is_distributed() or distributed.get_rank() == 0


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """Sum `tensor` over the ranks, in place, and return it."""
    if is_distributed():
        distributed.all_reduce(tensor)
    return tensor


def from_first_rank(tensor: Tensor) -> Tensor:
    """Overwrite `tensor` with rank 0's and return it."""
    if is_distributed():
        distributed.broadcast(tensor, src=0)
    return tensor
