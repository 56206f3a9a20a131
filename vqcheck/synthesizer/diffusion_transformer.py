"""The network that a v3 or v4 decoder samples with: a diffusion transformer (DiT, Peebles & Xie 2023) over mel frames.

It predicts the velocity of a flow at a time, for a step of a given length, from the noisy mel, the mel of a prompt and
the semantic features. Inside, tensors are `[B, N, D]` with N mel frames.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

_NORM_EPS = 1e-6
_DROPOUT = 0.1  # whatever the model's own p_dropout is
_FREQUENCIES = 256
_POSITIONS = 4096


class StepEmbedding(nn.Module):
    """Sines and cosines of a number in 0..1, through two linear layers."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.time_mlp = nn.Sequential(nn.Linear(_FREQUENCIES, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(self, step: Tensor) -> Tensor:
        """Return `[B, dim]` for step `[B]`."""
        half = _FREQUENCIES // 2
        slope = -math.log(10000) / (half - 1)
        frequencies = torch.exp(torch.arange(half, device=step.device, dtype=torch.float32) * slope)
        # in this order: the factor amplifies rounding, and weights were trained on what it gives
        angles = (1000 * step.float())[:, None] * frequencies
        embedded: Tensor = self.time_mlp(torch.cat((angles.sin(), angles.cos()), dim=-1).to(step.dtype))
        return embedded


class ResponseNorm(nn.Module):
    """Global response normalisation (ConvNeXt V2, Woo et al. 2023): each channel by its norm over all frames."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 1, dim))
        self.beta = nn.Parameter(torch.zeros(1, 1, dim))

    def forward(self, x: Tensor) -> Tensor:
        """Return `[B, N, C]`; padded frames count in the norm."""
        norm = torch.linalg.vector_norm(x, dim=1, keepdim=True)
        relative = norm / (norm.mean(dim=-1, keepdim=True) + _NORM_EPS)
        output: Tensor = self.gamma * (x * relative) + self.beta + x
        return output


class TextBlock(nn.Module):
    """A ConvNeXt V2 block over `[B, N, C]` with a residual sum."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=_NORM_EPS)
        self.pwconv1 = nn.Linear(dim, 2 * dim)
        self.grn = ResponseNorm(2 * dim)
        self.pwconv2 = nn.Linear(2 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return `[B, N, C]`."""
        hidden = self.norm(self.dwconv(x.transpose(1, 2)).transpose(1, 2))
        output: Tensor = x + self.pwconv2(self.grn(functional.gelu(self.pwconv1(hidden))))
        return output


class TextEmbedding(nn.Module):
    """The semantic features with the position of each frame, through a few convolution blocks."""

    freqs_cis: Tensor

    def __init__(self, dim: int, n_blocks: int) -> None:
        super().__init__()
        frequencies = 10000.0 ** (-torch.arange(0, dim, 2, dtype=torch.float32) / dim)
        angles = torch.arange(_POSITIONS, dtype=torch.float32)[:, None] * frequencies
        self.register_buffer("freqs_cis", torch.cat((angles.cos(), angles.sin()), dim=-1), persistent=False)
        self.text_blocks = nn.Sequential(*(TextBlock(dim) for _ in range(n_blocks)))

    def forward(self, text: Tensor, drop_text: bool = False) -> Tensor:
        """Return `[B, N, C]`; with `drop_text` what is left is the position. Frames after 4095 have its position."""
        positions = torch.arange(text.size(1), device=text.device).clamp(max=_POSITIONS - 1)
        table = self.freqs_cis[positions]
        output: Tensor = self.text_blocks((torch.zeros_like(text) if drop_text else text) + table)
        return output


class PositionConv(nn.Module):
    """Two wide grouped convolutions over time, which tell a frame where it stands among its neighbours."""

    def __init__(self, dim: int, kernel: int = 31, groups: int = 16) -> None:
        super().__init__()
        convs = (nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=groups) for _ in range(2))
        self.conv1d = nn.Sequential(*(layer for conv in convs for layer in (conv, nn.Mish())))

    def forward(self, x: Tensor) -> Tensor:
        """Return `[B, N, D]`; padded frames are not masked."""
        output: Tensor = self.conv1d(x.transpose(1, 2)).transpose(1, 2)
        return output


class InputEmbedding(nn.Module):
    """Noisy mel, prompt and text to one sequence."""

    def __init__(self, mel_channels: int, text_dim: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Linear(2 * mel_channels + text_dim, dim)
        self.conv_pos_embed = PositionConv(dim)

    def forward(self, x: Tensor, cond: Tensor, text: Tensor) -> Tensor:
        """Return `[B, N, dim]` of x and cond `[B, N, mels]` and text `[B, N, text_dim]`."""
        x = self.proj(torch.cat((x, cond, text), dim=-1))
        output: Tensor = self.conv_pos_embed(x) + x
        return output


class Rotary(nn.Module):
    """The rates of a rotary position embedding (RoFormer, Su et al. 2021).

    The rates are a persistent buffer: those of a loaded file count, which may be rounded to half precision.
    """

    inv_freq: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("inv_freq", 10000.0 ** (-torch.arange(0, size, 2, dtype=torch.float32) / size))

    def forward(self, frames: int) -> Tensor:
        """Return `[frames, size / 2]`, complex64: cosine and sine of each frame's angles."""
        angles = torch.arange(frames, device=self.inv_freq.device).to(self.inv_freq.dtype)[:, None] * self.inv_freq
        return torch.complex(angles.float().cos(), angles.float().sin())


def rotate(x: Tensor, rotary: Tensor) -> Tensor:
    """Turn adjacent pairs of the first channels of `[B, N, D]` by each frame's angles; the other channels stay."""
    turned = 2 * rotary.size(-1)
    first, others = x.split_with_sizes((turned, x.size(-1) - turned), dim=-1)
    # as complex numbers: one product, and one in the backward pass
    pairs = torch.view_as_complex(first.float().reshape(*first.shape[:-1], -1, 2)) * rotary
    return torch.cat((torch.view_as_real(pairs).flatten(-2).to(x.dtype), others), dim=-1)


class FrameAttention(nn.Module):
    """Self-attention over the frames of a clip. Only the first head's queries and keys are turned by position."""

    def __init__(self, dim: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.to_q = nn.Linear(dim, dim)
        self.to_k = nn.Linear(dim, dim)
        self.to_v = nn.Linear(dim, dim)
        self.to_out = nn.ModuleList((nn.Linear(dim, dim), nn.Dropout(_DROPOUT)))

    def forward(self, x: Tensor, mask: Tensor, rotary: Tensor) -> Tensor:
        """Return `[B, N, D]`, 0 on frames where `mask` `[B, N]` (bool) is False; no frame attends to those."""
        # turned before the split into heads, so that the angles reach the first head alone: so the weights were trained
        query, key = rotate(self.to_q(x), rotary), rotate(self.to_k(x), rotary)
        query, key, value = (
            each.unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for each in (query, key, self.to_v(x))
        )
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None, :])
        project, drop = self.to_out
        output: Tensor = drop(project(attended.transpose(1, 2).flatten(-2)))
        return output.masked_fill(~mask.unsqueeze(-1), 0)


class _GeluTanh(nn.Sequential):
    """A linear layer and the tanh form of GELU."""

    def __init__(self, dim: int, inner: int) -> None:
        super().__init__(nn.Linear(dim, inner), nn.GELU(approximate="tanh"))


class FrameFeedForward(nn.Module):
    """Two linear layers on each frame."""

    def __init__(self, dim: int, inner: int) -> None:
        super().__init__()
        self.ff = nn.Sequential(_GeluTanh(dim, inner), nn.Dropout(_DROPOUT), nn.Linear(inner, dim))

    def forward(self, x: Tensor) -> Tensor:
        """Return `[B, N, D]`."""
        output: Tensor = self.ff(x)
        return output


class Modulation(nn.Module):
    """Shifts, scales and gates from the embedding of the step, for layer norms without weights of their own."""

    def __init__(self, dim: int, parts: int) -> None:
        super().__init__()
        self.parts = parts
        self.linear = nn.Linear(dim, parts * dim)

    def forward(self, embedded: Tensor) -> tuple[Tensor, ...]:
        """Return so many tensors `[B, 1, D]` from embedded `[B, D]`."""
        output: Tensor = self.linear(functional.silu(embedded)).unsqueeze(1)
        return output.chunk(self.parts, dim=-1)


def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Return the layer norm of `[B, N, D]`, scaled and shifted."""
    return functional.layer_norm(x, x.shape[-1:], eps=_NORM_EPS) * (1 + scale) + shift


class TransformerBlock(nn.Module):
    """Attention and feed-forward, each modulated and gated by the step."""

    def __init__(self, dim: int, n_heads: int, ff_mult: int) -> None:
        super().__init__()
        self.attn_norm = Modulation(dim, 6)
        self.attn = FrameAttention(dim, n_heads)
        self.ff = FrameFeedForward(dim, ff_mult * dim)

    def forward(self, x: Tensor, embedded: Tensor, mask: Tensor, rotary: Tensor) -> Tensor:
        """Return `[B, N, D]`."""
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = self.attn_norm(embedded)
        x = x + gate_a * self.attn(modulated(x, shift_a, scale_a), mask, rotary)
        output: Tensor = x + gate_f * self.ff(modulated(x, shift_f, scale_f))
        return output


class DiffusionTransformer(nn.Module):
    """The estimator of the flow, under its names in checkpoints."""

    def __init__(
        self, mel_channels: int, text_dim: int, dim: int, depth: int, n_heads: int, ff_mult: int, conv_layers: int
    ) -> None:
        super().__init__()
        self.time_embed = StepEmbedding(dim)
        self.d_embed = StepEmbedding(dim)
        self.text_embed = TextEmbedding(text_dim, conv_layers)
        self.input_embed = InputEmbedding(mel_channels, text_dim, dim)
        self.rotary_embed = Rotary(dim // n_heads)
        self.transformer_blocks = nn.ModuleList(TransformerBlock(dim, n_heads, ff_mult) for _ in range(depth))
        self.norm_out = Modulation(dim, 2)
        self.proj_out = nn.Linear(dim, mel_channels)

    def forward(
        self,
        x0: Tensor,
        cond0: Tensor,
        x_lens: Tensor,
        time: Tensor,
        dt: Tensor,
        text0: Tensor,
        use_grad_ckpt: bool = False,
        drop_audio_cond: bool = False,
        drop_text: bool = False,
        infer: bool = False,
        text_cache: Tensor | None = None,
        dt_cache: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        """Return the velocity `[B, N, mels]`: frames before channels.

        Takes the noisy mel x0 and the prompt cond0 `[B, mels, N]`, x_lens `[B]` in frames, time and dt `[B]` in 0..1,
        and the semantic features text0 `[B, text_dim, N]`. `use_grad_ckpt` computes each block again in the backward
        pass and so needs less memory. With `infer` the embeddings of text `[B, N, text_dim]` and of dt `[B, dim]` come
        along; given back as caches they are not computed again.
        """
        x, cond, text = x0.transpose(1, 2), cond0.transpose(1, 2), text0.transpose(1, 2)
        time = time.expand(x.size(0)) if time.dim() == 0 else time
        mask = torch.arange(x.size(1), device=x.device) < x_lens[:, None]
        step = dt_cache if infer and dt_cache is not None else self.d_embed(dt)
        embedded = self.time_embed(time) + step
        words = text_cache if infer and text_cache is not None else self.text_embed(text, drop_text)
        x = self.input_embed(x, torch.zeros_like(cond) if drop_audio_cond else cond, words)
        rotary = self.rotary_embed(x.size(1))
        for block in self.transformer_blocks:
            if use_grad_ckpt:
                x = checkpoint(block, x, embedded, mask, rotary, use_reentrant=False)
            else:
                x = block(x, embedded, mask, rotary)
        scale, shift = self.norm_out(embedded)
        output: Tensor = self.proj_out(modulated(x, shift, scale))
        return (output, words, step) if infer else output
