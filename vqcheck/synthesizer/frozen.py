"""The patch: with `freeze_quantizer`, training the synthesizer leaves its VQ encoder exactly as it was.

The VQ encoder is `ssl_proj` and `quantizer`.  The GPT of stage 1 speaks in its tokens, so stage 2 must not move it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vqcheck.synthesizer.checks import InputChecks, check_state_dict
from vqcheck.synthesizer.quantizer import ResidualVectorQuantizer
from vqcheck.synthesizer.text_encoder import TextEncoder


class FrozenVQEncoder(nn.Module):
    """The part of the synthesizer that turns SSL features into semantic tokens, and the way it is frozen.

    A subclass sets the attributes.  To freeze in another way (or not at all), override `encode_semantic`.
    """

    enc_p: TextEncoder
    ssl_proj: nn.Conv1d
    quantizer: ResidualVectorQuantizer
    freeze_quantizer: bool | None
    frozen_parts: tuple[str, ...] = ("ssl_proj", "quantizer")
    """Names of the modules that `freeze_quantizer` holds; a subclass may hold more of them."""
    version: str
    _checks: InputChecks

    def encode_semantic(self, ssl: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what `project_and_quantize` does; frozen if `freeze_quantizer` is set.

        - `eval()` stops the codebook.  It is a buffer that `forward` writes through `.data` in train mode: neither
          requires_grad nor no_grad can stop that.  It stands here, at each call, because `train()` on the whole model
          undoes it at the start of every epoch.
        - `no_grad()` stops `ssl_proj`, whose weights are trained through the graph.  eval() alone does this only as a
          side effect (a quantizer in eval mode has no straight-through path); here no graph is built at all.

        Upstream enters the same context but calls only the two eval() inside it and computes after it, so there the
        context does nothing and eval() is the whole freeze.  Here the computation itself stands inside.
        """
        with self.maybe_no_grad():
            return self.project_and_quantize(ssl)

    def maybe_no_grad(self) -> contextlib.AbstractContextManager[Any]:
        """Bring the frozen parts into eval mode, and return the context that they are computed in."""
        if not self.freeze_quantizer:
            return contextlib.nullcontext()
        for name in self.frozen_parts:
            self.get_submodule(name).eval()
        return torch.no_grad()

    def hold(self) -> None:
        """Freeze a network that is built: what `freeze_quantizer=True` does in its constructor."""
        self.freeze_quantizer = True

    def project_and_quantize(self, ssl: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return vectors `[B, dim, T']`, ids `[1, B, T']` and the commitment loss for ssl `[B, dim, T]`; frozen or not.

        Autocast is off here: tokens depend on precision.
        """
        with torch.amp.autocast(ssl.device.type, enabled=False):
            quantized, codes, commit_loss, _ = self.quantizer(self.ssl_proj(ssl), layers=[0])
        return quantized, codes, commit_loss

    def extract_latent(self, ssl: Tensor) -> Tensor:
        """Return the semantic tokens `[B, 1, T']` (int64) of ssl `[B, ssl_dim, T]`; padding is not masked.

        Without `freeze_quantizer` this does not switch modes: in train mode it updates the codebook as `forward` does.
        """
        self._checks.features(ssl)
        _, codes, _ = self.encode_semantic(ssl)
        return codes.transpose(0, 1)

    @torch.no_grad()
    def initialise_codebook(self, ssl: Tensor) -> None:
        """Fill the codebook by k-means on projected ssl `[B, ssl_dim, T]`, where there are no weights to load."""
        self._checks.features(ssl)
        for codebook in self.quantizer.codebooks():
            codebook.initialise(self.ssl_proj(ssl).transpose(1, 2).flatten(0, 1))

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As torch's; raises StateDictMismatchError, which names tensors and shapes, if the weights do not fit."""
        check_state_dict(self, state_dict, strict, f"version {self.version!r}")
        # torch 2.0 does not know `assign`
        return super().load_state_dict(state_dict, strict, **({"assign": True} if assign else {}))
