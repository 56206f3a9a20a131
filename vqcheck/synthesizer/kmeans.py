"""Lloyd's k-means on random frames: the first content of a codebook."""

import torch
from torch import Tensor, nn

from vqcheck.synthesizer.distributed import from_first_rank, is_first_rank

MAX_FRAMES = 10_000
_CHUNK = 1024


def sample_frames(frames: Tensor, count: int) -> Tensor:
    """Return `count` random rows of `frames` `[N, dim]`; without repetition where N is large enough."""
    total = frames.size(0)
    if total >= count:
        index = torch.randperm(total, device=frames.device)[:count]
    else:
        index = torch.randint(0, total, (count,), device=frames.device)
    return frames[index]


def kmeans(frames: Tensor, n_codes: int, iterations: int) -> tuple[Tensor, Tensor]:
    """Return centres `[n_codes, dim]` and the number of frames at each `[n_codes]`, from frames `[N, dim]`.

    At most MAX_FRAMES random frames are used.  A centre that no frame is nearest to stays where it is.
    """
    if frames.size(0) > MAX_FRAMES:
        frames = sample_frames(frames, MAX_FRAMES)
    centres = sample_frames(frames, n_codes)
    counts = torch.zeros(n_codes, device=frames.device, dtype=frames.dtype)
    for _ in range(iterations):
        nearest = torch.cat([torch.cdist(chunk, centres).argmin(dim=1) for chunk in torch.split(frames, _CHUNK)])
        counts = torch.bincount(nearest, minlength=n_codes).to(frames.dtype)
        sums = torch.zeros_like(centres).index_add_(0, nearest, frames)
        means = sums / counts.clamp(min=1)[:, None]
        centres = torch.where(counts[:, None] > 0, means, centres)
    return centres, counts


@torch.no_grad()
def fill_by_kmeans(codebook: nn.Module, frames: Tensor, iterations: int) -> None:
    """Fill every buffer of a codebook by k-means on frames `[N, dim]`; with several processes on those of rank 0.

    It has the buffers of EuclideanCodebook, whoever wrote its class.
    """
    codes, sizes, sums = (codebook.get_buffer(name) for name in ("embed", "cluster_size", "embed_avg"))
    centres, counts = torch.zeros_like(codes), torch.zeros_like(sizes)
    if is_first_rank():
        centres, counts = kmeans(frames.to(codes.dtype), len(codes), iterations)
    codes.data.copy_(from_first_rank(centres))
    sizes.data.copy_(from_first_rank(counts))
    # sum and count must agree, or the first update would shrink every code
    sums.data.copy_(codes * sizes[:, None])
    codebook.get_buffer("inited").data.fill_(1)
