"""Flow matching with shortcut steps (Frans et al. 2024): how the decoder of v3 and v4 is trained and sampled from."""

import random

import torch
from torch import Tensor, nn

from vqcheck.synthesizer.diffusion_transformer import DiffusionTransformer

_BOOTSTRAPPED = 0.3
"""Share of the batches whose target is what two shorter steps of the model itself give."""
_SHORTEST = 0.01
"""A step that is shorter is told to the model as one of length 0."""


def _casts_not_kept(device: str) -> torch.autocast:
    """Return autocast as it is, without its cache of weights: older torch would use those cast without a graph later.

    The weights would then get no gradient from the batch.
    """
    return torch.autocast(
        device,
        dtype=torch.get_autocast_dtype(device),
        enabled=torch.is_autocast_enabled(device),
        cache_enabled=False,
    )


class FlowMatching(nn.Module):
    """The loss of the estimator on a batch, and its samples."""

    def __init__(self, estimator: DiffusionTransformer) -> None:
        super().__init__()
        self.estimator = estimator

    def forward(
        self, x1: Tensor, x_lens: Tensor, prompt_lens: Tensor, mu: Tensor, use_grad_ckpt: bool = False
    ) -> Tensor:
        """Return the loss, a scalar, of the mel x1 `[B, mels, n]` under the features mu `[B, text_dim, n]`.

        Every item counts alike, by its frames after its prompt (prompt_lens `[B]`) and before its end (x_lens `[B]`).
        Draws from torch's generator and, once a call, from Python's.
        """
        frames = torch.arange(x1.size(2), device=x1.device)
        in_prompt = (frames < prompt_lens[:, None]).unsqueeze(1)
        t = torch.rand([x1.size(0)], device=mu.device, dtype=x1.dtype)
        x0 = torch.randn_like(x1)
        velocity = x1 - x0
        xt = (x0 + t[:, None, None] * velocity).masked_fill(in_prompt, 0)
        prompt = x1.masked_fill(~in_prompt, 0)
        dt = torch.zeros_like(t)
        if random.random() < _BOOTSTRAPPED:  # noqa: S311 - upstream's draw, by which all ranks choose alike
            velocity, dt = self._bootstrapped(xt, prompt, x_lens, t, mu, use_grad_ckpt)
        predicted = self._velocity(xt, prompt, x_lens, t, dt, mu, use_grad_ckpt)
        errors = (predicted.float() - velocity.float()).square().mean(dim=1)
        counts = (frames >= prompt_lens[:, None]) & (frames < x_lens[:, None])
        return (errors.masked_fill(~counts, 0).sum(dim=1) / counts.sum(dim=1)).mean()

    @torch.inference_mode()
    def inference(
        self,
        mu: Tensor,
        x_lens: Tensor,
        prompt: Tensor,
        n_timesteps: int,
        temperature: float = 1.0,
        inference_cfg_rate: float = 0,
    ) -> Tensor:
        """Return the mel `[B, mels, N]` after so many steps, 0 in the frames of the prompt.

        Takes the features mu `[B, N, text_dim]` (frames before channels), x_lens `[B]` and the reference's mel, prompt
        `[B, mels, P]`. With `inference_cfg_rate` above 0 each step moves away from what the model says without them.
        """
        batch, frames = mu.shape[:2]
        features, known = mu.transpose(1, 2), prompt.size(-1)
        x = torch.randn([batch, prompt.size(1), frames], device=mu.device, dtype=mu.dtype) * temperature
        x[..., :known] = 0
        cond = torch.zeros_like(x)
        cond[..., :known] = prompt
        t, d = 0.0, 1 / n_timesteps
        words = dropped = step = None
        for _ in range(n_timesteps):
            times, steps = (torch.full([batch], value, device=x.device, dtype=mu.dtype) for value in (t, d))
            inputs = (x, cond, x_lens, times, steps, features)
            out, words, step = self.estimator(*inputs, infer=True, text_cache=words, dt_cache=step)
            velocity = out.transpose(1, 2)
            if inference_cfg_rate > 1e-5:
                out, dropped, step = self.estimator(
                    *inputs, drop_audio_cond=True, drop_text=True, infer=True, text_cache=dropped, dt_cache=step
                )
                velocity = velocity + (velocity - out.transpose(1, 2)) * inference_cfg_rate
            x = x + d * velocity
            x[..., :known] = 0
            t += d
        return x

    def _bootstrapped(
        self, xt: Tensor, prompt: Tensor, x_lens: Tensor, t: Tensor, mu: Tensor, use_grad_ckpt: bool
    ) -> tuple[Tensor, Tensor]:
        """Return the mean velocity of two steps, and the length of the one step that is to stand for both."""
        base = torch.randint(2, 8, [xt.size(0)], device=mu.device)
        d = (1 / 2**base).to(t.dtype)
        d_in = d.masked_fill(d < _SHORTEST, 0)
        # a target: upstream detaches it, and here no graph is built at all
        with torch.no_grad(), _casts_not_kept(xt.device.type):
            first = self._velocity(xt, prompt, x_lens, t, d_in, mu, use_grad_ckpt)
            halfway = xt + d[:, None, None] * first
            second = self._velocity(halfway, prompt, x_lens, t + d, d_in, mu, use_grad_ckpt)
        return (first + second) / 2, 2 * d

    def _velocity(
        self, x: Tensor, prompt: Tensor, x_lens: Tensor, t: Tensor, dt: Tensor, mu: Tensor, use_grad_ckpt: bool
    ) -> Tensor:
        velocity: Tensor = self.estimator(x, prompt, x_lens, t, dt, mu, use_grad_ckpt).transpose(1, 2)
        return velocity
