"""Holds the VQ encoder of a live model still: `vqcheck.freeze(net_g)`.

Codebooks that a moving average writes stay in eval mode whatever `train()` says later; codebooks and projections that
gradients train are taken out of training, those in front of a lookup and those behind which a later layer looks up what
is left.  Nothing else changes: the same state dict, the same forward, and projections behind the last lookup go on
learning.

What the default costs: quantizers stay in eval mode, and most that a moving average writes pass a gradient to the
encoder in front of them only in train mode (the straight-through estimator), and compute their commitment loss only
there.

- No gradient to what is in front, and a commitment loss of 0: GPT-SoVITS; encodec, audiocraft, SpeechTokenizer,
  WavTokenizer, X-Codec; moshi; NeMo; vector-quantize-pytorch's VectorQuantize, residual and grouped forms included, and
  LFQ; wav2vec 2.0.
- The gradient as before, straight-through in any mode: DAC (descript, transformers), SNAC, fish-speech, Amphion's
  factorised forms; VQGAN (taming, diffusers); SimVQ, FSQ, LatentQuantize; VQ-VAE-2, VideoGPT, Jukebox,
  torchmultimodal, VectorQuantizerEMA.
- None in any mode, since they are made for inference: Mimi, EnCodec and X-Codec in transformers.

In GPT-SoVITS fine-tuning nothing in front is trained, so nothing is lost: it is what its `freeze_quantizer` does.
Where trainable parameters in front would stop learning, the first forward in train mode warns.  Eval mode also turns
off random numbers of quantizers (DAC).

`encoder="learns"` keeps codes and projections as still, and lets the quantizer run in train mode on copies of its
codebook, which each forward drops: the gradient and the commitment loss are those of training.  It costs a copy of the
codebook a forward, and that the quantizer's random choices of train mode (such as quantizer dropout) come back.  Where
code goes around the quantizer's forward, or was compiled before, eval mode stays: codes are still there too.

What no freeze can hold: a direct write such as `codebook.training = True` or `codebook.embed.zero_()`, and
`requires_grad_(True)` on the whole model, until `train()` is called again.  `vqcheck.guard` notices these.  A quantizer
or projection that is replaced afterwards is not held: the next forward, and `check()` of the handle, warn.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from operator import attrgetter
from typing import Literal

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from vqcheck.codebook.family import CODEBOOK_ROLES, Role
from vqcheck.errors import UsageError
from vqcheck.language import tr
from vqcheck.live.encoder import LiveEncoder, find, stored_tensors
from vqcheck.live.hold_hooks import GradientHook, ReplacementHook, not_held, remove_hooks, replaced_text
from vqcheck.live.scratch_forward import run_on_copies, run_on_originals
from vqcheck.live.train_override import hold, train_overrides

Encoder = Literal["eval", "learns"]


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
    in_front_is_known: bool
    """Whether nothing but what is held can stand between features and a lookup."""
    encoder: Encoder = "eval"
    """Whether what stands in front goes on learning whatever the quantizer does in eval mode."""

    @property
    def held(self) -> tuple[str, ...]:
        """Names of all tensors that stay as they are."""
        return (*self.buffers, *self.parameters)

    def check(self) -> tuple[str, ...]:
        """Return the names of modules and parameters that are not held any more, with a RuntimeWarning if any."""
        lost = tuple(not_held(self.module, self.modules, self.parameters))
        if lost:
            warnings.warn(replaced_text(list(lost)), RuntimeWarning, stacklevel=2)
        return lost

    def remove(self) -> None:
        """Undo `freeze`: modes as last asked for, gradients as they were."""
        unfreeze(self.module)

    def __repr__(self) -> str:
        modules = ", ".join(name or type(self.module).__name__ for name in self.modules)
        parts = [f"{modules} in eval mode" if self.encoder == "eval" else f"{modules} still, the encoder learns"]
        if self.buffers:
            parts.append(_some(self.buffers, "buffer"))
        if self.parameters:
            parts.append(f"{_some(self.parameters, 'parameter')} without gradient")
        front = "" if self.in_front_is_known else "; what is in front is not known"
        return f"<frozen {' and '.join(self.families)}: {'; '.join(parts)}{front}>"


def freeze(module: nn.Module, encoder: Encoder = "eval") -> Frozen:
    """Hold every codebook in a live module, and the projections that decide its tokens, as they are now.

    With `encoder="eval"` quantizers stay in eval mode.  Most codecs that a moving average updates (EnCodec, GPT-SoVITS,
    vector-quantize-pytorch) then pass NO gradient to the encoder in front, and their commitment loss is 0: right where
    the encoder is frozen anyway, as in GPT-SoVITS; else a warning says so.  With `encoder="learns"` the codes stay as
    still, and the encoder gets the gradient and the commitment loss of training.

    Call it when the weights are loaded; before or after torch.compile, and before DistributedDataParallel (afterwards
    it is as good for codebooks that are buffers; parameters then need find_unused_parameters=True).  Called again, the
    last `encoder` counts.  Copies and pickles of the module are frozen too; to unpickle one needs vqcheck.

    Raises:
        NoCodebookError: no VQ encoder is known under the module's names.
        UsageError: the codebook was never trained, or cannot be held; or DistributedDataParallel waits for gradients.

    """
    if encoder not in ("eval", "learns"):
        raise UsageError(f"encoder: expected 'eval' or 'learns', given {encoder!r}")
    found = find(module)
    found.require_trained()
    _require_holdable(found)
    names = [tensor.name for tensor in found.tensors]
    parameters = [name for name in names if isinstance(attrgetter(name)(module), nn.Parameter)]
    _require_no_gradient_is_awaited(module, parameters)

    tops = modules_to_hold(found)
    for top in tops:
        for each in module.get_submodule(top).modules():
            hold(each)
    for name in parameters:
        owner, _, attribute = name.rpartition(".")
        hold(module.get_submodule(owner)).hold_parameter(attribute)
    for held in train_overrides(module):
        held.assert_held()
    remove_hooks(module)
    ReplacementHook(module, tops, tuple(parameters))
    for top in (top for top in tops if _holds_codes(found, top)):
        quantizer = module.get_submodule(top)
        for each in quantizer.modules():
            if encoder == "learns":
                run_on_copies(each)
            else:
                run_on_originals(each)
        if encoder == "eval":
            GradientHook(quantizer)
    return Frozen(
        module,
        tuple(dict.fromkeys(family.title for family in found.families)),
        tops,
        tuple(name for name in names if name not in set(parameters)),
        tuple(parameters),
        found.in_front_is_known,
        encoder,
    )


def unfreeze(module: nn.Module) -> None:
    """Undo `freeze` on a module, on a copy, or on what was unpickled; nothing happens where nothing is held."""
    remove_hooks(module)
    for held in list(train_overrides(module)):
        run_on_originals(held.module)
        held.release()


def _holds_codes(encoder: LiveEncoder, top: str) -> bool:
    """Tell whether a codebook stands below a module."""
    return any(each.role in CODEBOOK_ROLES and top in _ways_out(each.name) for each in encoder.tensors)


def _require_holdable(encoder: LiveEncoder) -> None:
    for each in encoder.tensors:
        if each.role == Role.CODE_TRANSFORM and each.part.startswith(("batch_mean", "batch_variance")):
            raise UsageError(
                tr(
                    "{tensor}: with affine_param=True the statistics that rescale this codebook follow "
                    "every batch, in eval mode too, so its tokens cannot be held",
                    tensor=each.name,
                )
            )


def _require_no_gradient_is_awaited(module: nn.Module, names: Collection[str]) -> None:
    """Raise UsageError if a DistributedDataParallel in the module would wait for gradients of these parameters.

    It decides at its construction whose gradients it averages.  Only with find_unused_parameters=True does it look at
    every step which of them come at all.  Buffers are no concern of its.
    """
    for each in module.modules():
        if not isinstance(each, DistributedDataParallel) or each.find_unused_parameters:
            continue
        awaited = {id(parameter) for parameter in each.module.parameters() if parameter.requires_grad}
        waited_for = [name for name in names if id(module.get_parameter(name)) in awaited]
        if waited_for:
            raise UsageError(
                tr(
                    "DistributedDataParallel waits for a gradient of {tensor} in every step: freeze the "
                    "model before wrapping it, or wrap it with find_unused_parameters=True",
                    tensor=waited_for[0],
                )
            )


def modules_to_hold(encoder: LiveEncoder) -> tuple[str, ...]:
    """Return the names of the outermost modules that hold nothing but a VQ encoder, in the module's order.

    The module that has a codebook as its attribute is often not the one that writes it: the update stands in a class
    around it (Jukebox's Bottleneck, taming's EMAVectorQuantizer, a ResidualVQ with a shared codebook).  So from each
    tensor the way goes outwards, as far as everything stored below belongs to a VQ encoder.  Containers and wrappers of
    torch itself have no mode of their own; there it goes on, but does not end.
    """
    ours = {tensor.name for tensor in (*encoder.tensors, *encoder.behind)}
    stored = Counter(path for name in stored_tensors(encoder.module) for path in _ways_out(name))
    belonging = Counter(path for name in ours for path in _ways_out(name))
    modules = dict(encoder.module.named_modules())
    tops = set()
    for tensor in encoder.tensors:
        top, *outwards = _ways_out(tensor.name)
        for path in outwards:
            if belonging[path] < stored[path]:
                break
            if type(modules[path]).__module__.partition(".")[0] != "torch":
                top = path
        tops.add(top)
    return tuple(path for path in modules if path in tops and tops.isdisjoint(_ways_out(path)))


def _ways_out(name: str) -> list[str]:
    """Return the names of all modules around a name, the innermost first and `""`, the whole, last."""
    if not name:
        return []
    parts = name.split(".")[:-1]
    return [".".join(parts[:length]) for length in range(len(parts), -1, -1)]


def _some(names: tuple[str, ...], kind: str) -> str:
    return f"1 {kind}" if len(names) == 1 else f"{len(names)} {kind}s"
