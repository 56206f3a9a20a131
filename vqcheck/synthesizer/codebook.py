"""The codebook: nearest-code lookup, and the writes that training makes into it.

Codes and their moving averages are buffers.  They are not trained by gradients but written in `forward`, through
`.data`, whenever the module is in train mode (van den Oord et al. 2017, appendix A.1; dead codes after Zeghidour et
al. 2021).
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from vqcheck.synthesizer.errors import InputError, UninitialisedCodebookError

DeadCodeExpiry = Literal["before-ema", "after-ema"]


class EuclideanCodebook(nn.Module):
    """Codes, looked up by Euclidean distance.

    Buffers:
        inited: `[1]`, 1.0 once the codes have content.
        cluster_size: `[codes]`, moving average of the number of frames at each code.
        embed: `[codes, dim]`, the codes; *all* rows are derived again at each update.
        embed_avg: `[codes, dim]`, moving average of the sum of frames at each code.

    `dead_code_expiry` is the order in which upstream replaces codes whose cluster_size is below `dead_code_threshold`:
    "after-ema" (since November 2025) puts random frames into the rows that the update has just derived; "before-ema"
    (until then) puts them in first, and the update overwrites them, so nothing is left but the random draw.
    """

    inited: Tensor
    cluster_size: Tensor
    embed: Tensor
    embed_avg: Tensor

    def __init__(
        self,
        dim: int,
        n_codes: int,
        decay: float = 0.99,
        epsilon: float = 1e-5,
        kmeans_iters: int = 50,
        dead_code_threshold: float = 2,
        dead_code_expiry: DeadCodeExpiry = "after-ema",
    ) -> None:
        super().__init__()
        if dead_code_expiry not in get_args(DeadCodeExpiry):
            raise InputError(
                f"dead_code_expiry: expected one of {', '.join(get_args(DeadCodeExpiry))}, given {dead_code_expiry!r}"
            )
        self.decay = decay
        self.epsilon = epsilon
        self.kmeans_iters = kmeans_iters
        self.dead_code_threshold = dead_code_threshold
        self.dead_code_expiry = dead_code_expiry
        self._seen_initialised: tuple[int, int] | None = None
        self.register_buffer("inited", torch.zeros(1))
        self.register_buffer("cluster_size", torch.zeros(n_codes))
        self.register_buffer("embed", torch.zeros(n_codes, dim))
        self.register_buffer("embed_avg", torch.zeros(n_codes, dim))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return codes' vectors `[B, dim, T]` and ids `[B, T]` (int64) for x `[B, dim, T]`.

        In train mode the codebook is updated after the lookup; one without content is filled by k-means before it.  In
        eval mode nothing is written.

        Raises:
            UninitialisedCodebookError: in eval mode, if the codebook has no content.

        """
        frames = x.transpose(1, 2).flatten(0, 1)
        if not self.is_initialised():
            if not self.training:
                self._refuse()
            self.initialise(frames)
        ids = self.nearest(frames)
        codes = functional.embedding(ids, self.embed)
        if self.training:
            self._update(frames.detach(), ids)
        batch, _, time = x.shape
        return codes.view(batch, time, -1).transpose(1, 2), ids.view(batch, time)

    def nearest(self, frames: Tensor) -> Tensor:
        """Return the id `[N]` of the nearest code for each of frames `[N, dim]`."""
        codes = self.embed.T
        # the order of these terms decides ties in the last bits, so it is part of the format
        negative_distance = -(
            frames.pow(2).sum(dim=1, keepdim=True) - 2 * frames @ codes + codes.pow(2).sum(dim=0, keepdim=True)
        )
        return negative_distance.max(dim=-1).indices

    def look_up(self, ids: Tensor) -> Tensor:
        """Return `[B, dim, T]` for ids `[B, T]`.  Raises UninitialisedCodebookError if the codebook has no content."""
        if not self.is_initialised():
            self._refuse()
        return functional.embedding(ids, self.embed).transpose(1, 2)

    def is_initialised(self) -> bool:
        """Tell whether `inited` is 1.

        On a GPU reading the flag makes the host wait, so it is read once for each tensor and version of it.
        """
        flag = self.inited
        if flag.device.type == "cpu":
            return bool(flag)
        state = (flag.data_ptr(), flag._version)  # noqa: SLF001 - the only way to see in-place writes without reading
        if state != self._seen_initialised:
            if not bool(flag):
                return False
            self._seen_initialised = state
        return True

    def initialise(self, frames: Tensor) -> None:
        """Fill every buffer by k-means on frames `[N, dim]`; with several processes on those of rank 0."""
        fill_by_kmeans(self, frames, self.kmeans_iters)

    def _refuse(self) -> None:
        codes, dim = self.embed.shape
        raise UninitialisedCodebookError(
            f"the codebook [{codes}, {dim}] has no content (inited is 0): load weights that hold one, or initialise it "
            "by k-means in train mode; in eval mode it would have to be rewritten silently"
        )

    @torch.no_grad()
    def _update(self, frames: Tensor, ids: Tensor) -> None:
        if self.dead_code_expiry == "before-ema":
            self._expire_dead_codes(frames)
        self._move_averages(frames, ids)
        if self.dead_code_expiry == "after-ema":
            self._expire_dead_codes(frames)

    def _move_averages(self, frames: Tensor, ids: Tensor) -> None:
        one_hot = functional.one_hot(ids, len(self.embed)).to(frames.dtype)
        counts = sum_over_ranks(one_hot.sum(dim=0))
        sums = sum_over_ranks(one_hot.T @ frames)
        self.cluster_size.data.mul_(self.decay).add_(counts, alpha=1 - self.decay)
        self.embed_avg.data.mul_(self.decay).add_(sums, alpha=1 - self.decay)
        total = self.cluster_size.sum()
        smoothed = (self.cluster_size + self.epsilon) / (total + len(self.embed) * self.epsilon) * total
        self.embed.data.copy_(self.embed_avg / smoothed[:, None])

    def _expire_dead_codes(self, frames: Tensor) -> None:
        dead = self.cluster_size < self.dead_code_threshold
        if not bool(dead.any()):
            return
        # every rank has the same counts, hence the same dead codes; the frames differ, so rank 0's are taken
        samples = sample_frames(frames, len(dead)) if is_first_rank() else torch.empty_like(self.embed)
        samples = from_first_rank(samples.to(self.embed.dtype).contiguous())
        self.embed.data.copy_(torch.where(dead[:, None], samples, self.embed))


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
