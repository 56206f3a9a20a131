"""A model small enough to train within a test, whose VQ encoder has the names and the code of GPT-SoVITS's."""

import pytest
import torch
from torch import nn

from vqcheck.synthesizer.quantizer import ResidualVectorQuantizer

CODEBOOK = "quantizer.vq.layers.0._codebook"
DIM = 8


class SmallModel(nn.Module):
    """A projection, a real quantizer that writes its codebook in train mode, and a decoder that learns."""

    def __init__(self):
        super().__init__()
        self.ssl_proj = nn.Conv1d(DIM, DIM, 2, stride=2)
        self.quantizer = ResidualVectorQuantizer(DIM, bins=16)
        self.decoder = nn.Conv1d(DIM, DIM, 1)

    def forward(self, x):
        quantized, _, commit_loss = self.quantizer(self.ssl_proj(x))
        return self.decoder(quantized).pow(2).mean() + commit_loss


class DacLike(nn.Module):
    """A codebook that gradients train, under DAC's names, with the projections of its layer and a decoder."""

    def __init__(self):
        super().__init__()
        self.quantizer = nn.Module()
        layer = nn.Module()
        layer.in_proj = nn.Conv1d(DIM, 4, 1)
        layer.codebook = nn.Embedding(16, 4)
        layer.out_proj = nn.Conv1d(4, DIM, 1)
        self.quantizer.quantizers = nn.ModuleList([layer])
        self.decoder = nn.Conv1d(DIM, DIM, 1)

    def forward(self, x):
        layer = self.quantizer.quantizers[0]
        frames = layer.in_proj(x).transpose(1, 2)
        ids = torch.cdist(frames, layer.codebook.weight[None]).argmin(dim=-1)
        codes = layer.codebook(ids)
        loss = (codes - frames.detach()).pow(2).mean() + (codes.detach() - frames).pow(2).mean()
        quantized = frames + (codes - frames).detach()
        return self.decoder(layer.out_proj(quantized.transpose(1, 2))).pow(2).mean() + loss


@pytest.fixture
def small_model():
    """Returns a seeded small model with a trained codebook, in train mode."""

    def build():
        torch.manual_seed(0)
        model = SmallModel()
        book = model.quantizer.codebooks()[0]
        book.initialise(torch.randn(200, DIM))
        book.cluster_size.fill_(20)
        book.embed_avg.copy_(book.embed * 20)
        return model.train()

    return build


@pytest.fixture
def dac_like():
    """Returns a seeded model whose codebook is a parameter, in train mode."""

    def build():
        torch.manual_seed(0)
        return DacLike().train()

    return build


@pytest.fixture
def batch():
    """Returns a batch `[2, DIM, 12]`, another one for each number."""

    def make(number=0):
        return torch.randn(2, DIM, 12, generator=torch.Generator().manual_seed(number))

    return make


@pytest.fixture
def train(batch):
    """Trains with AdamW and weight decay; `after` is called after every step."""

    def run(model, steps=3, after=lambda: None, optimizer=None):
        optimizer = optimizer or torch.optim.AdamW(model.parameters(), 1e-2, weight_decay=0.1)
        for number in range(steps):
            optimizer.zero_grad()
            model(batch(number)).backward()
            optimizer.step()
            after()

    return run


@pytest.fixture
def take_steps():
    """Does something and calls the guard's step(), as often as said."""

    def take(guard, work, steps=3):
        for number in range(steps):
            work(number)
            guard.step()

    return take


@pytest.fixture
def snapshot():
    """Returns copies of a module's state, or of the tensors named."""

    def take(model, names=None):
        state = model.state_dict()
        return {name: state[name].clone() for name in names or state}

    return take


@pytest.fixture
def changed():
    """Returns the names of tensors that are no longer bit by bit what a snapshot says."""

    def compare(model, before):
        now = model.state_dict()
        return {name for name, tensor in before.items() if not torch.equal(now[name], tensor)}

    return compare


@pytest.fixture
def codebook():
    """Where a small model's codebook stands."""
    return CODEBOOK


@pytest.fixture
def book(codebook):
    """Returns the module of a small model's codebook."""
    return lambda model: model.get_submodule(codebook)
