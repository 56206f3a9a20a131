"""A residual quantizer of one layer, written by a moving average through `.data`; its expiry asks for a rank."""

import torch
from torch import distributed, nn
from torch.nn import functional


class EuclideanCodebook(nn.Module):
    def __init__(self, dim, size):
        super().__init__()
        self.register_buffer("inited", torch.zeros(1))
        self.register_buffer("cluster_size", torch.zeros(size))
        self.register_buffer("embed", torch.zeros(size, dim))
        self.register_buffer("embed_avg", torch.zeros(size, dim))

    def forward(self, x):
        tokens = torch.cdist(x, self.embed).argmin(-1)
        if self.training:
            one_hot = functional.one_hot(tokens, len(self.embed)).to(x.dtype)
            self.cluster_size.data.mul_(0.99).add_(one_hot.sum(0), alpha=0.01)
            self.embed_avg.data.mul_(0.99).add_(one_hot.t() @ x, alpha=0.01)
            self.embed.data.copy_(self.embed_avg / (self.cluster_size[:, None] + 1e-5))
            distributed.get_rank()
        return functional.embedding(tokens, self.embed), tokens


class VectorQuantization(nn.Module):
    def __init__(self, dim, size):
        super().__init__()
        self._codebook = EuclideanCodebook(dim, size)

    def forward(self, x):
        frames = x.transpose(1, 2)
        quantized, tokens = self._codebook(frames.flatten(0, 1))
        quantized = quantized.view_as(frames)
        loss = torch.zeros(1, device=x.device)
        if self.training:
            loss = loss + functional.mse_loss(quantized.detach(), frames)
            quantized = frames + (quantized - frames).detach()
        return quantized.transpose(1, 2), tokens, loss.mean()


class ResidualVectorQuantizer(nn.Module):
    def __init__(self, dimension, bins):
        super().__init__()
        self.vq = nn.Module()
        self.vq.layers = nn.ModuleList([VectorQuantization(dimension, bins)])

    def forward(self, x, layers=None):  # noqa: ARG002 - the tree's signature
        quantized, tokens, loss = self.vq.layers[0](x)
        return quantized, tokens[None], loss, [quantized]
