"""Pairs of VQ encoders between which something known happened, made by really running train-mode updates."""

from dataclasses import dataclass

import pytest
import torch
from vector_quantize_pytorch import VectorQuantize

from vqcheck import compare, open_checkpoint
from vqcheck.synthesizer.quantizer import ResidualVectorQuantizer

CODEBOOK = "quantizer.vq.layers.0._codebook"
CODES, DIM, FRAMES = 64, 16, 300
NAMES = ("cluster_size", "embed", "embed_avg")


@dataclass
class Run:
    """A training between two states, and what really happened in it."""

    steps: int
    before: dict
    after: dict
    unhit: set
    """Codes that no frame was nearest to in any step."""


def base_state(seed=0, *, rare=()):
    """Return a trained VQ encoder whose codes follow from its bookkeeping; `rare` codes have counts below 2."""
    generator = torch.Generator().manual_seed(seed)
    count = 5 + 60 * torch.rand(CODES, generator=generator)
    for number, code in enumerate(rare):
        count[code] = 0.4 + 0.13 * number
    total = torch.randn(CODES, DIM, generator=generator) * count[:, None]
    return {
        f"{CODEBOOK}.inited": torch.ones(1),
        f"{CODEBOOK}.cluster_size": count,
        f"{CODEBOOK}.embed": derive(total, count),
        f"{CODEBOOK}.embed_avg": total,
        "ssl_proj.weight": torch.randn(DIM, DIM, 2, generator=generator) / 6,
        "ssl_proj.bias": 0.1 * torch.randn(DIM, generator=generator),
    }


def derive(total, count, epsilon=1e-5):
    """Return codes from sums and counts as an EMA update does."""
    smoothed = (count + epsilon) / (count.sum() + len(count) * epsilon) * count.sum()
    return total / smoothed[:, None]


def half(state):
    """Return the state after an fp16 export."""
    return {name: value.half() for name, value in state.items()}


def chances(hits, unhit):
    """Return how likely a frame is drawn around each code."""
    if hits == "zipf":
        ranks = torch.randperm(CODES, generator=torch.Generator().manual_seed(7))
        weights = 1 / (1.0 + ranks.float()) ** 1.2
    else:
        weights = torch.ones(CODES)
    weights[list(unhit)] = 0
    return weights


class _Ours:
    def __init__(self, state, decay, order):
        self.module = ResidualVectorQuantizer(DIM, bins=CODES, dead_code_expiry=order)
        self.book = self.module.codebooks()[0]
        self.book.decay = decay
        self.module.load_state_dict({name[10:]: value.float() for name, value in state.items() if CODEBOOK in name})
        self.module.train()

    def step(self, frames):
        return self.module(frames.T[None])[1].flatten()

    def state(self):
        return {f"quantizer.{name}": value.clone() for name, value in self.module.state_dict().items()}


class _VectorQuantizePytorch:
    def __init__(self, state, decay, threshold):
        self.module = VectorQuantize(DIM, CODES, decay=decay, threshold_ema_dead_code=threshold)
        self.book = self.module._codebook
        for name in NAMES:
            getattr(self.book, name).data.copy_(state[f"{CODEBOOK}.{name}"].float()[None])
        self.module.train()

    def step(self, frames):
        return self.module(frames[None])[1].flatten()

    def state(self):
        tensors = {f"{CODEBOOK}.{name}": getattr(self.book, name).clone() for name in NAMES}
        return tensors | {f"{CODEBOOK}.inited": torch.ones(1)}


def run_updates(
    before, *counts, library="ours", order="before-ema", hits="uniform", unhit=(), decay=0.99, seed=1, frames=FRAMES
):
    """Really train on frames drawn around the codes: return the Run after each number of train-mode forwards."""
    torch.manual_seed(seed)
    module = _VectorQuantizePytorch(before, decay, 2) if library == "vqp" else _Ours(before, decay, order)
    weights = chances(hits, unhit)
    start = before[f"{CODEBOOK}.embed"].float()
    rest = {name: value for name, value in before.items() if name.startswith("ssl_proj")}
    seen = set()
    runs = []
    for step in range(1, max(counts) + 1):
        picked = torch.multinomial(weights, frames, replacement=True)
        drawn = 1.05 * start[picked] + 0.15 * torch.randn(frames, DIM)
        seen |= set(module.step(drawn).tolist())
        if step in counts:
            runs.append(Run(step, before, module.state() | rest, set(range(CODES)) - seen))
    return runs


def fresh_k_means(library, seed=3):
    """Return a state whose codebook was filled by k-means on random frames a moment ago."""
    torch.manual_seed(seed)
    frames = torch.randn(600, DIM)
    state = base_state(seed)
    if library == "vqp":
        module = VectorQuantize(DIM, CODES, kmeans_init=True)
        module.eval()
        module(frames[None])
        return state | {f"{CODEBOOK}.{name}": getattr(module._codebook, name).clone() for name in NAMES}
    module = ResidualVectorQuantizer(DIM, bins=CODES)
    module.codebooks()[0].initialise(frames)
    return state | {f"quantizer.{name}": value.clone() for name, value in module.state_dict().items()}


@pytest.fixture(scope="session")
def base():
    """Makes a trained state."""
    return base_state


@pytest.fixture(scope="session")
def updates():
    """Runs train-mode updates from a state."""
    return run_updates


@pytest.fixture(scope="session")
def narrowed():
    """Rounds a state as an fp16 export does."""
    return half


@pytest.fixture(scope="session")
def k_means():
    """Fills a codebook by the k-means of a library."""
    return fresh_k_means


@pytest.fixture
def diagnose(save):
    """Saves two states and returns the diagnosis of their comparison."""

    def run(a, b, **options):
        with open_checkpoint(save(a, "a.pth")) as first, open_checkpoint(save(b, "b.pth")) as second:
            return compare(first, second, **options).diagnosis

    return run
