"""A codebook that is really trained by EMA updates in torch, as the literature defines them."""

import copy
from dataclasses import dataclass, field

import torch

PATH = "quantizer.vq.layers.0._codebook"
DECAY, EPSILON, THRESHOLD = 0.99, 1e-5, 2.0


@dataclass
class Training:
    """The state of one codebook `[codes, dim]`, the data it is trained on, and a count of what happened to it."""

    codes: int
    dim: int
    seed: int
    noise: float = 0.25
    uniform: bool = False
    padded: int = 0
    """Frames of padding in each step, all alike."""
    decay: float = DECAY
    low: torch.dtype | None = None
    """Type to which buffers are rounded after each step."""
    hits: torch.Tensor = field(init=False)
    """Frames that each code was nearest to since the last `mark`."""

    def __post_init__(self):
        self.random = torch.Generator().manual_seed(self.seed)
        self.centres = torch.randn(self.codes, self.dim, generator=self.random)
        chances = torch.rand(self.codes, generator=self.random) ** 2 + 0.003
        self.chances = torch.ones(self.codes) if self.uniform else chances
        self.weight = torch.randn(self.dim, 6, 2, generator=self.random) * 0.1
        self.bias = torch.randn(self.dim, generator=self.random) * 0.1
        self.sums = self.centres.clone()
        self.counts = torch.ones(self.codes)
        self.embed = self.centres.clone()
        self.mark()

    def settle(self, frames, steps=25):
        """Bring counts to where many updates would leave them, then really run some."""
        share = self.chances / self.chances.sum()
        self.counts = frames * share * (0.8 + 0.4 * torch.rand(self.codes, generator=self.random))
        if self.padded:
            # One code that nothing but padding is near to, and whose sum so is a multiple of the bias.
            self.bias = 6.0 * torch.nn.functional.normalize(self.bias, dim=0)
            self.chances[0] = 0
            self.centres[0] = self.bias
            self.counts[0] = self.padded
        self.sums = self.centres * self.counts[:, None]
        self.embed = self.centres.clone()
        for _ in range(steps):
            self.step(frames)
        self.mark()
        return self

    def mark(self):
        self.hits = torch.zeros(self.codes)
        self.before = self.embed.clone()

    def draw(self, frames):
        picked = torch.multinomial(self.chances, frames, True, generator=self.random)
        drawn = self.centres[picked] + self.noise * torch.randn(frames, self.dim, generator=self.random)
        return torch.cat([drawn, self.bias.expand(self.padded, self.dim)]) if self.padded else drawn

    def step(self, frames, expiry="", drawn=None):
        drawn = self.draw(frames) if drawn is None else drawn
        nearest = torch.cdist(drawn, self.embed).argmin(1)
        if expiry == "before":
            self._replace(drawn)
        one_hot = torch.nn.functional.one_hot(nearest, self.codes).float()
        self.hits += one_hot.sum(0)
        self.counts = self.counts.mul(self.decay).add(one_hot.sum(0), alpha=1 - self.decay)
        self.sums = self.sums.mul(self.decay).add(one_hot.T @ drawn, alpha=1 - self.decay)
        self.embed = derive(self.sums, self.counts)
        if expiry == "after":
            self._replace(drawn)
        if self.low:
            self.round(self.low)

    def run(self, steps, frames, expiry=""):
        for _ in range(steps):
            self.step(frames, expiry)
        return self

    def round(self, dtype):
        for name in ("counts", "sums", "embed"):
            setattr(self, name, getattr(self, name).to(dtype).float())
        return self

    def _replace(self, drawn):
        dead = self.counts < THRESHOLD
        if dead.any():
            self.embed = self.embed.clone()
            self.embed[dead] = drawn[torch.randint(len(drawn), (int(dead.sum()),), generator=self.random)]

    def fork(self, seed):
        """Return another training that goes on from this state on other data order."""
        other = copy.deepcopy(self)
        other.random = torch.Generator().manual_seed(seed)
        other.mark()
        return other

    def state(self):
        return {
            f"{PATH}.inited": torch.ones(1),
            f"{PATH}.cluster_size": self.counts.clone(),
            f"{PATH}.embed": self.embed.clone(),
            f"{PATH}.embed_avg": self.sums.clone(),
            "ssl_proj.weight": self.weight.clone(),
            "ssl_proj.bias": self.bias.clone(),
            "enc_p.text_embedding.weight": torch.zeros(732, 2),
        }


def derive(sums, counts):
    """Return codes from sums and counts as an update does."""
    total = counts.sum()
    return sums / ((counts + EPSILON) / (total + len(counts) * EPSILON) * total)[:, None]
