"""GPT-SoVITS's training, step by step, on networks of whichever origin: ours, or those of a checkout.

It runs in a checkout's own Python too: 3.9, torch 2.0.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from vqcheck.live.first_write import WriteCatcher
from vqcheck.replay.subject import NOT_A_NUMBER, StepReport
from vqcheck.replay.trace import CommitLossState
from vqcheck.synthesizer.codebook import fill_by_kmeans

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vqcheck.live.encoder import LiveEncoder
    from vqcheck.replay.training_step import TrainingStep

_FRAME_ENERGY = 1000 / 768
"""Mean square of a projected feature in trained models: frames of 768 dimensions have |x|^2 near 1000."""

_MEAN_COUNT, _SMALLEST_COUNT = 20.0, 4.0
"""Counts of the codes in a fresh codebook: none of them is dead."""

_KMEANS_ITERATIONS = 50
_STATES = {
    None: CommitLossState.NOT_REPORTED,
    True: CommitLossState.COMPUTED,
    False: CommitLossState.OFF,
}


class S2Training:
    """Takes training steps, and reports each."""

    def __init__(self, training_step: TrainingStep) -> None:
        self.training_step = training_step
        self.epoch = 0
        self._device = next(training_step.net_g.parameters()).device

    def step(self, epoch: int, inputs: Mapping[str, Tensor], traced: LiveEncoder | None) -> StepReport:
        """Train once on a batch; with the generator's VQ encoder, say who wrote to it."""
        step, inputs = self.training_step, {name: value.to(self._device) for name, value in inputs.items()}
        if epoch != self.epoch:
            self.epoch = epoch
            step.start_epoch()
        catcher = WriteCatcher(traced) if traced else None
        step.quantizer.forget()
        self._wait()
        begun = time.perf_counter()
        with catcher or nullcontext():
            result = step(inputs)
        self._wait()
        seconds = time.perf_counter() - begun
        commit_loss = torch.tensor(NOT_A_NUMBER) if result.commit_loss is None else result.commit_loss
        values = self._read(
            [
                *result.losses.values(),
                *result.gradient_norms.values(),
                result.skipped,
                commit_loss,
                step.quantizer.shadow_commit_loss(),
            ]
        )
        training = step.quantizer.training
        step.quantizer.forget()  # and with it the graph
        return StepReport(
            losses=dict(zip(result.losses, values)),  # noqa: B905 - Python 3.9
            gradient_norms=dict(zip(result.gradient_norms, values[len(result.losses) :])),  # noqa: B905
            commit_loss=values[-2],
            commit_loss_state=_STATES[training],
            shadow_commit_loss=values[-1],
            learning_rate=step.learning_rate,
            epoch=epoch,
            seconds=None if catcher else seconds,
            writes=catcher.first if catcher else {},
            optimizer_step_skipped=bool(values[-3]),
            # it was called, or nothing would be known of its mode
            uses_codebook=training is not None,
        )

    def _read(self, scalars: list[Tensor]) -> list[float]:
        """Return the values; waits once for the device."""
        values: list[float] = torch.stack([each.float().reshape(()).to(self._device) for each in scalars]).tolist()
        return values

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


@torch.no_grad()
def fresh_vq_encoder(net_g: nn.Module, ssl: Tensor) -> None:
    """Give the projection the energy it has in trained models, then fill the codebook from ssl `[1, dim, T]`."""
    projection = net_g.get_submodule("ssl_proj")
    projection.get_parameter("weight").mul_((_FRAME_ENERGY / projection(ssl).var()).sqrt())
    frames = projection(ssl).transpose(1, 2).flatten(0, 1)
    for codebook in _codebooks(net_g):
        fill_by_kmeans(codebook, frames, getattr(codebook, "kmeans_iters", _KMEANS_ITERATIONS))
        # few frames leave small counts, and codes with a count below 2 would be dead from the first step on
        counts = codebook.get_buffer("cluster_size")
        counts.copy_((counts * _MEAN_COUNT / counts.mean()).clamp(min=_SMALLEST_COUNT))
        codebook.get_buffer("embed_avg").copy_(codebook.get_buffer("embed") * counts[:, None])


@torch.no_grad()
def tokens_of(net_g: nn.Module, ssl: Tensor) -> Tensor | None:
    """Return the tokens `[N]` of ssl `[B, dim, T]`, past `forward`: in no mode does this write anything.

    None where the network has not one codebook behind a projection, as a training step may leave it.
    """
    projection, codebooks = getattr(net_g, "ssl_proj", None), _codebooks(net_g)
    weight, bias = getattr(projection, "weight", None), getattr(projection, "bias", None)
    codes = codebooks[0].get_buffer("embed") if len(codebooks) == 1 else None
    if not isinstance(weight, Tensor) or weight.dim() != 3 or weight.shape[1] != ssl.shape[1] or codes is None:
        return None
    if codes.shape[1:] != weight.shape[:1] or (bias is not None and bias.shape != weight.shape[:1]):
        return None
    bias = None if bias is None else bias.to(ssl)
    frames = functional.conv1d(ssl, weight.to(ssl), bias, stride=weight.shape[2]).transpose(1, 2).flatten(0, 1)
    codes = codes.to(ssl).T
    distance = frames.pow(2).sum(dim=1, keepdim=True) - 2 * frames @ codes + codes.pow(2).sum(dim=0, keepdim=True)
    return distance.min(dim=-1).indices


def _codebooks(net_g: nn.Module) -> list[nn.Module]:
    quantizer = getattr(net_g, "quantizer", None)
    modules = quantizer.modules() if isinstance(quantizer, nn.Module) else ()
    return [each for each in modules if "embed" in dict(each.named_buffers(recurse=False))]
