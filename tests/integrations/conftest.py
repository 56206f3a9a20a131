"""A model small enough to train within a test, whose VQ encoder has the names and the code of GPT-SoVITS's."""

import pytest
import torch
from torch import nn

from vqcheck.synthesizer.quantizer import ResidualVectorQuantizer

DIM = 8


class SmallModel(nn.Module):
    """An encoder, a projection, a real quantizer that writes its codebook in train mode, and a decoder."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Conv1d(DIM, DIM, 1)
        self.ssl_proj = nn.Conv1d(DIM, DIM, 2, stride=2)
        self.quantizer = ResidualVectorQuantizer(DIM, bins=16)
        self.decoder = nn.Conv1d(DIM, DIM, 1)

    def forward(self, x):
        quantized, _, commit_loss = self.quantizer(self.ssl_proj(self.encoder(x)))
        return self.decoder(quantized).pow(2).mean() + commit_loss.mean()


@pytest.fixture
def small_model():
    """Returns a seeded model with a trained codebook, in train mode."""

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
def batches():
    """Eight batches `[2, DIM, 12]`, without the axis of batches."""
    return [torch.randn(2, DIM, 12, generator=torch.Generator().manual_seed(number)) for number in range(8)]


@pytest.fixture
def vq_encoder():
    """Returns copies of what decides tokens, and of its bookkeeping."""

    def take(model):
        return {
            name: tensor.clone()
            for name, tensor in model.state_dict().items()
            if name.startswith(("ssl_proj.", "quantizer."))
        }

    return take


@pytest.fixture
def changed(vq_encoder):
    """Returns the names of tensors of the VQ encoder that are no longer bit by bit what they were."""
    return lambda model, before: {name for name, now in vq_encoder(model).items() if not torch.equal(now, before[name])}
