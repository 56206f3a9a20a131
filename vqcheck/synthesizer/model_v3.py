"""The s2 synthesizer of v3 and v4: the text encoder of v2, and a decoder that samples mel by flow matching."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vqcheck.synthesizer.checks import InputChecks, frames_per_code, reference_bins, symbol_count
from vqcheck.synthesizer.codebook import DeadCodeExpiry
from vqcheck.synthesizer.diffusion_transformer import DiffusionTransformer
from vqcheck.synthesizer.errors import InputError
from vqcheck.synthesizer.flow import WaveNet
from vqcheck.synthesizer.flow_matching import FlowMatching
from vqcheck.synthesizer.frozen import FrozenVQEncoder
from vqcheck.synthesizer.quantizer import ResidualVectorQuantizer
from vqcheck.synthesizer.segments import sequence_mask
from vqcheck.synthesizer.style_encoder import MelStyleEncoder
from vqcheck.synthesizer.text_encoder import TextEncoder

_FRAMES_PER_CODE = 2  # of the text encoder, at either frame rate
_MEL_RATE = {"v3": 1.875}  # mel frames to each of those; every other version has 2
_MEL_RATE_V4 = 2.0


class FeatureEncoder(nn.Module):
    """A gated convolution stack on the semantic features at mel rate."""

    def __init__(self, channels: int, gin_channels: int, n_layers: int) -> None:
        super().__init__()
        self.pre = nn.Conv1d(channels, channels, 1)
        self.enc = WaveNet(channels, gin_channels, n_layers)
        self.proj = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor, lengths: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """Return `[B, C, T]`, 0 after each length, and the mask `[B, 1, T]`. No gradient reaches the speaker g."""
        mask = sequence_mask(lengths, x.size(2), x.dtype)
        hidden = self.enc(self.pre(x) * mask, mask, g.detach())
        return self.proj(hidden) * mask, mask


class SynthesizerTrnV3(FrozenVQEncoder):
    """SSL features, text, a reference spectrogram and its mel to the loss of training, or to mel.

    v3 and v4 have the same tensors and differ in the number of mel frames to a semantic one. The arguments up to
    `version` are upstream's, in its order; further keywords of its config, which it does not use, are ignored here as
    well. Those after it are sizes that upstream has as constants.

    Raises:
        InputError: for an unknown frame rate, or sizes that do not fit each other.

    """

    # beside the VQ encoder, this model freezes the text encoder
    frozen_parts = ("ssl_proj", "quantizer", "enc_p")

    def __init__(
        self,
        spec_channels: int,
        segment_size: int,
        inter_channels: int = 192,
        hidden_channels: int = 192,
        filter_channels: int = 768,
        n_heads: int = 2,
        n_layers: int = 6,
        kernel_size: int = 3,
        p_dropout: float = 0.1,
        resblock: str = "1",  # noqa: ARG002 - upstream's, who does not use these either, up to n_speakers
        resblock_kernel_sizes: Sequence[int] = (),  # noqa: ARG002
        resblock_dilation_sizes: Sequence[Sequence[int]] = (),  # noqa: ARG002
        upsample_rates: Sequence[int] = (),  # noqa: ARG002
        upsample_initial_channel: int = 0,  # noqa: ARG002
        upsample_kernel_sizes: Sequence[int] = (),  # noqa: ARG002
        n_speakers: int = 0,  # noqa: ARG002
        gin_channels: int = 512,
        use_sdp: bool = True,  # noqa: ARG002 - the same
        semantic_frame_rate: str = "25hz",
        freeze_quantizer: bool | None = None,
        version: str = "v3",
        *,
        ssl_dim: int = 768,
        codebook_size: int = 1024,
        kmeans_iters: int = 50,
        dead_code_expiry: DeadCodeExpiry = "after-ema",
        n_symbols: int | None = None,
        reference_channels: int | None = None,
        reference_hidden: int = 128,
        mrte_hidden: int = 512,
        mrte_heads: int = 4,
        mel_channels: int = 100,
        bridge_channels: int = 512,
        bridge_layers: int = 8,
        dit_dim: int = 1024,
        dit_depth: int = 22,
        dit_heads: int = 16,
        dit_ff_mult: int = 2,
        dit_conv_layers: int = 4,
        **_ignored: Any,
    ) -> None:
        super().__init__()
        self.frames_per_code = frames_per_code(semantic_frame_rate)
        if gin_channels != mrte_hidden:
            raise InputError(f"gin_channels: expected {mrte_hidden} (mrte_hidden), given {gin_channels}")
        self.version = version
        self.spec_channels = spec_channels
        self.segment_size = segment_size
        self.semantic_frame_rate = semantic_frame_rate
        self.freeze_quantizer = freeze_quantizer
        self.mel_rate = _MEL_RATE.get(version, _MEL_RATE_V4)
        self.reference_channels = reference_channels or reference_bins(version, spec_channels)
        n_symbols = n_symbols or symbol_count(version)

        # the order of these is the order of upstream's parameters, by which an optimizer's state is indexed
        self.enc_p = TextEncoder(
            inter_channels,
            hidden_channels,
            filter_channels,
            n_heads,
            n_layers,
            kernel_size,
            p_dropout,
            ssl_dim,
            n_symbols,
            mrte_hidden,
            mrte_heads,
        )
        self.ref_enc = MelStyleEncoder(self.reference_channels, reference_hidden, gin_channels)
        self.ssl_proj = nn.Conv1d(ssl_dim, ssl_dim, self.frames_per_code, stride=self.frames_per_code)
        self.quantizer = ResidualVectorQuantizer(
            ssl_dim, bins=codebook_size, kmeans_iters=kmeans_iters, dead_code_expiry=dead_code_expiry
        )
        self.bridge = nn.Sequential(nn.Conv1d(hidden_channels, bridge_channels, 1), nn.LeakyReLU(0.01))
        self.wns1 = FeatureEncoder(bridge_channels, gin_channels, bridge_layers)
        self.linear_mel = nn.Conv1d(bridge_channels, mel_channels, 1)  # in every checkpoint, and used by nothing
        self.cfm = FlowMatching(
            DiffusionTransformer(
                mel_channels, bridge_channels, dit_dim, dit_depth, dit_heads, dit_ff_mult, dit_conv_layers
            )
        )
        if freeze_quantizer is True:
            self.hold()

        self._checks = InputChecks(
            spec_channels=spec_channels,
            segment_size=segment_size,
            ssl_dim=ssl_dim,
            frames_per_code=self.frames_per_code,
            n_symbols=n_symbols,
            codebook_size=codebook_size,
            sv_dim=None,
            mel_channels=mel_channels,
        )

    def forward(
        self,
        ssl: Tensor,
        y: Tensor,
        mel: Tensor,
        ssl_lengths: Tensor,  # noqa: ARG002 - upstream's, who does not use it either
        y_lengths: Tensor,
        text: Tensor,
        text_lengths: Tensor,
        mel_lengths: Tensor,
        use_grad_ckpt: bool,
    ) -> Tensor:
        """Return the loss of the decoder, a scalar, on a training batch. The commitment loss is not part of it.

        Takes ssl `[B, ssl_dim, S]` (float32), the linear spectrogram y `[B, bins, T]`, the normalised mel
        `[B, mels, M]`, text ids `[B, L]` (int64), and the lengths of each `[B]`. `use_grad_ckpt` saves memory and takes
        time.

        Raises:
            InputError: if a shape, length or id does not fit.
            UninitialisedCodebookError: if the quantizer is frozen and was never filled.

        """
        self._checks.mel_batch(ssl, y, y_lengths, text, text_lengths, mel, mel_lengths)
        with torch.amp.autocast(ssl.device.type, enabled=False):
            y_mask = sequence_mask(y_lengths, y.size(2), y.dtype)
            ge = self.ref_enc(y[:, : self.reference_channels] * y_mask, y_mask)
            with self.maybe_no_grad():
                quantized, _, _ = self.encode_semantic(ssl)
                quantized = functional.interpolate(quantized, scale_factor=_FRAMES_PER_CODE, mode="nearest")
                hidden = self.enc_p(quantized, y_lengths, text, text_lengths, ge)[0]
        features = self._at_mel_rate(hidden, mel_lengths, ge)
        shares = torch.rand([ssl.size(0)], device=features.device)
        prompt_lengths = (shares * (mel_lengths * 2 / 3)).floor().to(torch.int64)
        frames = min(mel.size(2), features.size(2))
        loss: Tensor = self.cfm(mel[:, :, :frames], mel_lengths, prompt_lengths, features[:, :, :frames], use_grad_ckpt)
        return loss

    def hold(self) -> None:
        """Freeze a network that is built; here the frozen parts are taken out of the optimizer, too."""
        super().hold()
        for name in self.frozen_parts:
            self.get_submodule(name).requires_grad_(False)

    @torch.no_grad()
    def decode_encp(
        self, codes: Tensor, text: Tensor, refer: Tensor, ge: Tensor | None = None, speed: float = 1
    ) -> tuple[Tensor, Tensor]:
        """Return the features `[1, C, M]` that `cfm.inference` samples mel by, and the speaker's vector `[1, gin, 1]`.

        Takes codes `[1, 1, T']` (int64), text `[1, L]` and the spectrogram of a reference `[1, bins, R]`, which is not
        looked at where a speaker's vector ge is given.

        Raises:
            InputError: if a shape, code or id does not fit.
            UninitialisedCodebookError: if the codebook was never filled.

        """
        self._checks.tokens(codes, text, [refer], [None], speed)
        if ge is None:
            ge = self.ref_enc(refer[:, : self.reference_channels], torch.ones_like(refer[:, :1]))
        n_codes = codes.size(2)
        quantized = self.quantizer.decode(codes)
        if self.semantic_frame_rate == "25hz":
            quantized = functional.interpolate(quantized, scale_factor=_FRAMES_PER_CODE, mode="nearest")
        y_lengths = torch.tensor([2 * n_codes], device=codes.device)
        text_lengths = torch.tensor([text.size(-1)], device=text.device)
        hidden = self.enc_p(quantized, y_lengths, text, text_lengths, ge, speed)[0]
        # upstream counts 3.875 frames a code for v3, so that the mask leaves every frame where there are 3.75
        per_code = 3.875 if self.version == "v3" else 4
        frames = int(n_codes * per_code) if speed == 1 else int(n_codes * per_code / speed) + 1
        return self._at_mel_rate(hidden, torch.tensor([frames], device=codes.device), ge), ge

    def _at_mel_rate(self, hidden: Tensor, mel_lengths: Tensor, ge: Tensor) -> Tensor:
        """Return the text encoder's output at the decoder's width and frame rate, 0 after each length."""
        features = self.bridge(hidden)
        # by a factor, not to a size: the frames that are repeated differ where the length is no multiple of 8
        features = functional.interpolate(features, scale_factor=self.mel_rate, mode="nearest")
        masked: Tensor
        masked, _ = self.wns1(features, mel_lengths, ge)
        return masked
