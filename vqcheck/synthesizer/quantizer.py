"""Residual vector quantization (SoundStream, Zeghidour et al. 2021), nested as the names in a checkpoint are."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from vqcheck.synthesizer.checks import paired
from vqcheck.synthesizer.codebook import DeadCodeExpiry, EuclideanCodebook


class VectorQuantization(nn.Module):
    """A codebook with the commitment loss and the straight-through gradient of training."""

    def __init__(self, codebook: EuclideanCodebook) -> None:
        super().__init__()
        self._codebook = codebook

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return vectors `[B, dim, T]`, ids `[B, T]` and the loss `[1]`.

        In eval mode the loss is 0 because it is not computed, whatever the distance to the codes may be.
        """
        quantized, ids = self._codebook(x)
        loss = torch.zeros(1, device=x.device, requires_grad=self.training)
        if self.training:
            quantized = x + (quantized - x).detach()
            loss = loss + functional.mse_loss(quantized.detach(), x)
        return quantized, ids, loss


class ResidualVectorQuantization(nn.Module):
    """Layers that each quantize what the layers before left over."""

    def __init__(self, layers: Sequence[VectorQuantization]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        """Return each layer's vectors `[B, dim, T]`, ids `[layers, B, T]` and losses `[layers, 1]`."""
        vectors, ids, losses = [], [], []
        for layer in self.layers:
            quantized, layer_ids, loss = layer(x)
            x = x - quantized.detach()
            vectors.append(quantized)
            ids.append(layer_ids)
            losses.append(loss)
        return vectors, torch.stack(ids), torch.stack(losses)


class ResidualVectorQuantizer(nn.Module):
    """The quantizer as the synthesizer sees it.  It has buffers (see EuclideanCodebook) and no parameters at all."""

    def __init__(
        self,
        dimension: int,
        n_q: int = 1,
        bins: int = 1024,
        kmeans_iters: int = 50,
        dead_code_expiry: DeadCodeExpiry = "after-ema",
    ) -> None:
        super().__init__()
        self.vq = ResidualVectorQuantization(
            [
                VectorQuantization(
                    EuclideanCodebook(dimension, bins, kmeans_iters=kmeans_iters, dead_code_expiry=dead_code_expiry)
                )
                for _ in range(n_q)
            ]
        )

    def forward(
        self, x: Tensor, layers: Sequence[int] | None = None
    ) -> tuple[Tensor, Tensor, Tensor] | tuple[Tensor, Tensor, Tensor, list[Tensor]]:
        """Quantize x `[B, dim, T]`.

        Return the sum of the layers' vectors `[B, dim, T]`, ids `[n_q, B, T]` (int64), the commitment loss (a scalar)
        and, with `layers`, the vectors of those layers.
        """
        vectors, ids, losses = self.vq(x)
        quantized = sum(vectors[1:], start=0.0 + vectors[0])
        if layers is None:
            return quantized, ids, losses.mean()
        return quantized, ids, losses.mean(), [vectors[layer] for layer in layers]

    def decode(self, codes: Tensor) -> Tensor:
        """Return the vectors `[B, dim, T]` of ids `[n_q, B, T]`."""
        vectors: list[Tensor] = [book.look_up(ids) for book, ids in paired(self.codebooks(), codes)]
        return sum(vectors[1:], start=0.0 + vectors[0])

    def codebooks(self) -> list[EuclideanCodebook]:
        """Return the codebook of each layer."""
        return [module for module in self.modules() if isinstance(module, EuclideanCodebook)]
