"""Holds the VQ encoder of a live model still: `vqcheck.freeze(net_g)`.

Codebooks that a moving average writes stay in eval mode whatever `train()` says later; codebooks and projections that
gradients train are taken out of training, those in front of a lookup and those behind which a later layer looks up what
is left.  Nothing else changes: the same state dict, the same forward, and projections behind the last lookup go on
learning.

What eval mode costs: most quantizers written by a moving average pass a gradient to the encoder in front of them only
in train mode (the straight-through estimator), and compute their commitment loss only there.

- No gradient to what is in front, and a commitment loss of 0: GPT-SoVITS; encodec, audiocraft, SpeechTokenizer,
  WavTokenizer, X-Codec; moshi; NeMo; vector-quantize-pytorch's VectorQuantize, residual and grouped forms included, and
  LFQ; wav2vec 2.0.
- The gradient as before, straight-through in any mode: DAC (descript, transformers), SNAC, fish-speech, Amphion's
  factorised forms; VQGAN (taming, diffusers); SimVQ, FSQ, LatentQuantize; VQ-VAE-2, VideoGPT, Jukebox,
  torchmultimodal, VectorQuantizerEMA.
- None in any mode, since they are made for inference: Mimi, EnCodec and X-Codec in transformers.

In GPT-SoVITS fine-tuning nothing in front is trained, so nothing is lost: it is what its `freeze_quantizer` does.  A
codec whose encoder is to go on learning needs its own commitment loss.  Eval mode also turns off random numbers of
quantizers (DAC).

What no freeze can hold: a direct write such as `codebook.training = True` or `codebook.embed.zero_()`, and
`requires_grad_(True)` on the whole model, until `train()` is called again.  `vqcheck.guard` notices these.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from vqcheck.codebook.family import CODE_TRANSFORM, CODES, EMA_SUM, INIT_FLAG, SUM_OVER_COUNT
from vqcheck.errors import UsageError
from vqcheck.runtime.data_parallel import require_no_gradient_is_awaited
from vqcheck.runtime.held_mode import held_modes, hold
from vqcheck.runtime.live import LiveEncoder, Names, find_live_encoder
from vqcheck.runtime.span import spanned_modules


@dataclass(frozen=True, eq=False, repr=False)
class Frozen:
    """What `freeze` holds, and the way to let it go."""

    module: nn.Module
    families: tuple[str, ...]
    modules: tuple[str, ...]
    """Names of the modules that stay in eval mode with all that is below them; empty is the module itself."""
    buffers: tuple[str, ...]
    parameters: tuple[str, ...]
    """Names of parameters without gradient."""

    @property
    def held(self) -> tuple[str, ...]:
        """Names of all tensors that stay as they are."""
        return (*self.buffers, *self.parameters)

    def remove(self) -> None:
        """Undo `freeze`: modes as last asked for, gradients as they were."""
        unfreeze(self.module)

    def __repr__(self) -> str:
        modules = ", ".join(name or type(self.module).__name__ for name in self.modules)
        parts = [f"{modules} in eval mode"]
        if self.buffers:
            parts.append(_some(self.buffers, "buffer"))
        if self.parameters:
            parts.append(f"{_some(self.parameters, 'parameter')} without gradient")
        return f"<frozen {' and '.join(self.families)}: {'; '.join(parts)}>"


def freeze(module: nn.Module) -> Frozen:
    """Hold every codebook in a live module, and the projections that decide its tokens, as they are now.

    Call it when the weights are loaded; before or after torch.compile, and before DistributedDataParallel (afterwards
    it is as good for codebooks that are buffers; parameters then need find_unused_parameters=True).  Calling it again
    changes nothing.  Copies and pickles of the module are frozen too; to unpickle one needs vqcheck.

    Raises:
        NoCodebookError: no VQ encoder is known under the module's names.
        UsageError: the codebook was never trained, or cannot be held; or DistributedDataParallel waits for gradients.

    """
    encoder = find_live_encoder(module)
    require_trained(encoder)
    _require_holdable(encoder)
    parameters = [name for name in _names(encoder) if isinstance(_attribute(module, name), nn.Parameter)]
    require_no_gradient_is_awaited(module, parameters)

    tops = spanned_modules(encoder)
    for top in tops:
        for each in module.get_submodule(top).modules():
            hold(each)
    for name in parameters:
        owner, _, attribute = name.rpartition(".")
        hold(module.get_submodule(owner)).hold_parameter(attribute)
    for held in held_modes(module):
        held.assert_held()
    return Frozen(
        module,
        tuple(dict.fromkeys(family.title for family in encoder.families)),
        tops,
        tuple(name for name in _names(encoder) if name not in set(parameters)),
        tuple(parameters),
    )


def unfreeze(module: nn.Module) -> None:
    """Undo `freeze` on a module, on a copy, or on what was unpickled; nothing happens where nothing is held."""
    for held in list(held_modes(module)):
        held.release()


def require_trained(encoder: LiveEncoder) -> None:
    """Raise UsageError if a codebook still waits for its first batch, which would overwrite it even in eval mode."""
    tensors = Names(encoder.module, _names(encoder)).tensors()
    for each in encoder.tensors:
        is_source = each.role == (EMA_SUM if each.family.derivation == SUM_OVER_COUNT else CODES)
        if (is_source or each.role == INIT_FLAG) and _is_zero(tensors[each.name]):
            raise UsageError(
                f"{each.name} is all zero: this codebook was never trained, and the first batch would fill it; "
                "load its weights first"
            )


def _require_holdable(encoder: LiveEncoder) -> None:
    for each in encoder.tensors:
        if each.role == CODE_TRANSFORM and each.part.startswith(("batch_mean", "batch_variance")):
            raise UsageError(
                f"{each.name}: with affine_param=True the statistics that rescale this codebook follow every batch, in "
                "eval mode too, so its tokens cannot be held"
            )


def _names(encoder: LiveEncoder) -> tuple[str, ...]:
    return tuple(tensor.name for tensor in encoder.tensors)


def _attribute(module: nn.Module, name: str) -> object:
    owner, _, attribute = name.rpartition(".")
    return getattr(module.get_submodule(owner), attribute)


def _is_zero(tensor: Tensor) -> bool:
    return not bool((tensor != 0).any())


def _some(names: tuple[str, ...], kind: str) -> str:
    return f"1 {kind}" if len(names) == 1 else f"{len(names)} {kind}s"
