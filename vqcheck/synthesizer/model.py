"""The s2 synthesizer of GPT-SoVITS (VITS, Kim et al. 2021, on semantic tokens), under its names in checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vqcheck.synthesizer.cast_together import cast_together
from vqcheck.synthesizer.checks import (
    InputChecks,
    check_version,
    frames_per_code,
    is_pro,
    paired,
    reference_bins,
    symbol_count,
)
from vqcheck.synthesizer.codebook import DeadCodeExpiry
from vqcheck.synthesizer.errors import InputError
from vqcheck.synthesizer.flow import CouplingFlow, PosteriorEncoder
from vqcheck.synthesizer.frozen import FrozenVQEncoder
from vqcheck.synthesizer.generator import Generator
from vqcheck.synthesizer.quantizer import ResidualVectorQuantizer
from vqcheck.synthesizer.segments import rand_slice_segments, sequence_mask
from vqcheck.synthesizer.style_encoder import MelStyleEncoder
from vqcheck.synthesizer.text_encoder import WHOLE, TextEncoder, Window, window_of_codes

Latents = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


class SynthesizerTrn(FrozenVQEncoder):
    """SSL features, text and a reference spectrogram to samples.

    The arguments up to `version` are upstream's, in its order; further keywords of its config, which it does not use,
    are ignored here as well.  Those after it are sizes that upstream has as constants, with these as their values.  How
    `freeze_quantizer` works stands in FrozenVQEncoder.

    Raises:
        InputError: for an unknown version, frame rate or residual block, or sizes that do not fit each other.

    """

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
        resblock: str = "1",
        resblock_kernel_sizes: Sequence[int] = (3, 7, 11),
        resblock_dilation_sizes: Sequence[Sequence[int]] = ((1, 3, 5),) * 3,
        upsample_rates: Sequence[int] = (10, 8, 2, 2, 2),
        upsample_initial_channel: int = 512,
        upsample_kernel_sizes: Sequence[int] = (16, 16, 8, 2, 2),
        n_speakers: int = 0,  # noqa: ARG002 - upstream's, who does not use it either
        gin_channels: int = 512,
        use_sdp: bool = True,  # noqa: ARG002 - the same
        semantic_frame_rate: str = "25hz",
        freeze_quantizer: bool | None = None,
        version: str = "v2",
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
        posterior_layers: int = 16,
        flow_layers: int = 4,
        n_flows: int = 4,
        sv_dim: int = 20480,
        **_ignored: Any,
    ) -> None:
        super().__init__()
        check_version(version)
        self.frames_per_code = frames_per_code(semantic_frame_rate)
        if str(resblock) != "1":
            raise InputError(f"resblock: expected '1', given {resblock!r}")
        if not is_pro(version) and gin_channels != mrte_hidden:
            raise InputError(f"gin_channels: expected {mrte_hidden} (mrte_hidden), given {gin_channels}")
        self.version = version
        self.is_v2pro = is_pro(version)
        self.spec_channels = spec_channels
        self.segment_size = segment_size
        self.upsample_rates = upsample_rates
        self.semantic_frame_rate = semantic_frame_rate
        self.freeze_quantizer = freeze_quantizer
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
        self.dec = Generator(
            inter_channels,
            resblock_kernel_sizes,
            resblock_dilation_sizes,
            upsample_rates,
            upsample_initial_channel,
            upsample_kernel_sizes,
            gin_channels,
        )
        self.enc_q = PosteriorEncoder(spec_channels, inter_channels, hidden_channels, gin_channels, posterior_layers)
        self.flow = CouplingFlow(inter_channels, hidden_channels, gin_channels, flow_layers, n_flows)
        self.ref_enc = MelStyleEncoder(self.reference_channels, reference_hidden, gin_channels)
        self.ssl_proj = nn.Conv1d(ssl_dim, ssl_dim, self.frames_per_code, stride=self.frames_per_code)
        self.quantizer = ResidualVectorQuantizer(
            ssl_dim, bins=codebook_size, kmeans_iters=kmeans_iters, dead_code_expiry=dead_code_expiry
        )
        if self.is_v2pro:
            self.sv_emb = nn.Linear(sv_dim, gin_channels)
            self.ge_to512 = nn.Linear(gin_channels, mrte_hidden)
            self.prelu = nn.PReLU(gin_channels)

        self._checks = InputChecks(
            spec_channels=spec_channels,
            segment_size=segment_size,
            ssl_dim=ssl_dim,
            frames_per_code=self.frames_per_code,
            n_symbols=n_symbols,
            codebook_size=codebook_size,
            sv_dim=sv_dim if self.is_v2pro else None,
        )

    def forward(
        self,
        ssl: Tensor,
        y: Tensor,
        y_lengths: Tensor,
        text: Tensor,
        text_lengths: Tensor,
        sv_emb: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Latents, Tensor]:
        """Run the model on a training batch.

        Takes ssl `[B, ssl_dim, S]` (float32), the linear spectrogram y `[B, bins, T]` with y_lengths `[B]`, text ids
        `[B, L]` (int64) with text_lengths `[B]` and, for the Pro versions, sv_emb `[B, sv_dim]`.  S and T must give the
        same number of frames after quantization, so T is even.

        Returns samples `[B, 1, segment_size * hop]`, the commitment loss (a scalar), the segments' starts `[B]`
        (int64), the spectrogram's mask `[B, 1, T]` twice, (z, z_p, m_p, logs_p, m_q, logs_q) `[B, C, T]`, and the
        quantized features `[B, ssl_dim, T]`.

        Raises:
            InputError: if a shape, length or id does not fit (the values of tensors on a GPU are read at the first
                call only, since reading them makes the host wait).
            UninitialisedCodebookError: if the quantizer is frozen and was never filled.

        """
        self._checks.batch(ssl, y, y_lengths, text, text_lengths, sv_emb)
        # all but ssl_proj and the quantizer, which autocast leaves alone
        with cast_together(*(part for name, part in self.named_children() if name not in FrozenVQEncoder.frozen_parts)):
            ge = self._speaker(y, sequence_mask(y_lengths, y.size(2), y.dtype), sv_emb)
            quantized, _, commit_loss = self.encode_semantic(ssl)
            quantized = self._at_frame_rate(quantized)
            _, m_p, logs_p, _, _, _ = self.enc_p(quantized, y_lengths, text, text_lengths, self._speaker_of_text(ge))
            z, m_q, logs_q, y_mask = self.enc_q(y, y_lengths, g=ge)
            z_p = self.flow(z, y_mask, g=ge)
            z_slice, ids_slice = rand_slice_segments(z, y_lengths, self.segment_size)
            o = self.dec(z_slice, g=ge)
            return o, commit_loss, ids_slice, y_mask, y_mask, (z, z_p, m_p, logs_p, m_q, logs_q), quantized

    @torch.no_grad()
    def infer(
        self,
        ssl: Tensor,
        y: Tensor,
        y_lengths: Tensor,
        text: Tensor,
        text_lengths: Tensor,
        test: Any = None,  # noqa: ARG002 - upstream's, kept so that positional calls mean the same
        noise_scale: float = 0.5,
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Synthesize from ssl features, with y as the reference; shapes as in `forward`.

        Returns samples `[B, 1, T * hop]`, the mask `[B, 1, T]` and (z, z_p, m_p, logs_p).

        Raises:
            InputError: if a shape, length or id does not fit; for Pro versions, which upstream does not have here.

        """
        if self.is_v2pro:
            raise InputError(f"version: expected v1 or v2 (infer takes no sv_emb), given {self.version!r}")
        self._checks.batch(ssl, y, y_lengths, text, text_lengths, None, training=False)
        ge = self._speaker(y, sequence_mask(y_lengths, y.size(2), y.dtype), None)
        quantized, _, _ = self.encode_semantic(ssl)
        quantized = self._at_frame_rate(quantized)
        encoded = self.enc_p(quantized, y_lengths, text, text_lengths, self._speaker_of_text(ge))
        return self._synthesize(encoded, ge, noise_scale)

    @torch.no_grad()
    def decode(
        self,
        codes: Tensor,
        text: Tensor,
        refer: Tensor | Sequence[Tensor],
        noise_scale: float = 0.5,
        speed: float = 1,
        sv_emb: Tensor | Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Return samples `[1, 1, frames * hop]` for semantic tokens.

        Takes codes `[1, 1, T']` (int64), text `[1, L]`, the spectrogram of a reference `[1, bins, R]` and, for the Pro
        versions, sv_emb `[1, sv_dim]`; lists of references (and sv_emb) count with their mean.

        Raises:
            InputError: if a shape, code or id does not fit.
            UninitialisedCodebookError: if the codebook was never filled.

        """
        encoded, ge = self._encoded(codes, text, refer, sv_emb, speed, WHOLE)
        o, _, _ = self._synthesize(encoded, ge, noise_scale)
        return o

    @torch.no_grad()
    def decode_streaming(
        self,
        codes: Tensor,
        text: Tensor,
        refer: Tensor | Sequence[Tensor],
        noise_scale: float = 0.5,
        speed: float = 1,
        sv_emb: Tensor | Sequence[Tensor] | None = None,
        result_length: int | None = None,
        overlap_frames: Tensor | None = None,
        padding_length: int | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return samples for the end of a sequence of semantic tokens that grows from call to call.

        Takes what `decode` takes, with all codes so far.  Of these the last `result_length` are decoded (None: all),
        without the `padding_length` at the end that were only appended.  `overlap_frames` `[1, hidden, F]` are frames
        of the call before that overlap with the first ones of this call: they fade out.  Returns samples, the hidden
        frames `[1, hidden, frames at speed 1]`, whose last are the next call's overlap, and their mask.

        What each argument does is known from runs of upstream's class on the same weights, inputs and seeds.

        Raises:
            InputError: if a shape, code, id or length does not fit.
            UninitialisedCodebookError: if the codebook was never filled.

        """
        window = window_of_codes(codes.size(-1), self.frames_per_code, result_length, padding_length, overlap_frames)
        encoded, ge = self._encoded(codes, text, refer, sv_emb, speed, window)
        o, _, _ = self._synthesize(encoded, ge, noise_scale)
        return o, encoded[4], encoded[5]

    def _encoded(
        self,
        codes: Tensor,
        text: Tensor,
        refer: Tensor | Sequence[Tensor],
        sv_emb: Tensor | Sequence[Tensor] | None,
        speed: float,
        window: Window,
    ) -> tuple[Latents, Tensor]:
        """Return what the text encoder makes of a window of the codes, and the speaker's vector."""
        references = [refer] if isinstance(refer, Tensor) else list(refer)
        given = [sv_emb] if sv_emb is None or isinstance(sv_emb, Tensor) else list(sv_emb)
        vectors = given if self.is_v2pro else [None] * len(references)
        self._checks.tokens(codes, text, references, vectors, speed)
        ge = torch.stack(
            [
                self._speaker(reference, torch.ones_like(reference[:, :1]), vector)
                for reference, vector in paired(references, vectors)
            ]
        ).mean(0)
        quantized = self._at_frame_rate(self.quantizer.decode(codes))
        y_lengths = torch.tensor([quantized.size(2)], device=codes.device)
        text_lengths = torch.tensor([text.size(-1)], device=text.device)
        return self.enc_p(quantized, y_lengths, text, text_lengths, self._speaker_of_text(ge), speed, window), ge

    def _speaker(self, spec: Tensor, mask: Tensor, sv_emb: Tensor | None) -> Tensor:
        """Return the speaker's vector ge `[B, gin, 1]`."""
        ge: Tensor = self.ref_enc(spec[:, : self.reference_channels] * mask, mask)
        if sv_emb is not None and self.is_v2pro:
            ge = self.prelu(ge + self.sv_emb(sv_emb).unsqueeze(-1))
        return ge

    def _speaker_of_text(self, ge: Tensor) -> Tensor:
        """Return ge at the width of the text encoder's cross-attention, `[B, mrte_hidden, 1]`."""
        if not self.is_v2pro:
            return ge
        narrowed: Tensor = self.ge_to512(ge.transpose(1, 2))
        return narrowed.transpose(1, 2)

    def _at_frame_rate(self, quantized: Tensor) -> Tensor:
        """Repeat each code's vector for the spectrogram frames that it stands for."""
        return quantized.repeat_interleave(self.frames_per_code, dim=2)

    def _synthesize(
        self, encoded: Latents, ge: Tensor, noise_scale: float
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor, Tensor, Tensor]]:
        _, m_p, logs_p, y_mask, _, _ = encoded
        z_p = m_p + torch.randn_like(m_p) * torch.exp(logs_p) * noise_scale
        z = self.flow(z_p, y_mask, g=ge, reverse=True)
        o: Tensor = self.dec(z * y_mask, g=ge)
        return o, y_mask, (z, z_p, m_p, logs_p)
