"""The s2 training steps of GPT-SoVITS: v1 and v2 learn against a discriminator, v3 and v4 learn a flow.

Written to be read from top to bottom, in upstream's order. One liberty is taken: gradients of the discriminator's
weights are off while the generator trains. Upstream computes them and throws them away.

Our own networks and those of a checkout take the same steps, so this runs in a checkout's Python: 3.9, torch 2.0.
"""

from __future__ import annotations

import contextlib
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vqcheck.language import tr
from vqcheck.synthesizer.losses import (
    MEL_WEIGHT,
    discriminator_loss,
    feature_loss,
    generator_loss,
    kl_loss,
    mel_loss,
)
from vqcheck.synthesizer.segments import slice_segments
from vqcheck.synthesizer.spectrogram import SpectrogramSettings, mel_spectrogram, spec_to_mel

SWITCHES = ("use_grad_ckpt",)
"""Parameters of a `forward` that choose how, not what, it computes."""

MakeScaler = Callable[[str, bool], Any]
"""From the type of a device, and whether training is in half precision, to the gradient scaler."""


def _itself(net: nn.Module) -> nn.Module:
    return net


def gradient_scaler(device_type: str, fp16: bool) -> Any:
    """Return the gradient scaler that upstream uses."""
    if hasattr(torch.amp, "GradScaler"):
        return torch.amp.GradScaler(device_type, enabled=fp16)
    return torch.cuda.amp.GradScaler(enabled=fp16)  # before torch 2.3


@dataclass(frozen=True)
class StepSettings:
    """The numbers of a training step, under the names that a configuration has for them."""

    learning_rate: float
    betas: Sequence[float]
    eps: float
    lr_decay: float
    text_low_lr_rate: float
    c_mel: float
    c_kl: float
    segment_size: int
    """Frames of the spectrogram that the decoder is trained on."""
    spectrogram: SpectrogramSettings
    fp16: bool
    grad_ckpt: bool = False
    """Of v3 and v4: compute each block again in the backward pass."""


@dataclass(frozen=True)
class StepResult:
    """What one step gives, still on the device: scalars `[]`."""

    losses: dict[str, Tensor]
    commit_loss: Tensor | None
    """None where the quantizer returns none."""
    gradient_norms: dict[str, Tensor]
    skipped: bool
    """The gradient scaler skipped the generator's optimizer step."""


class TrainingStep(ABC):
    """The generator with its optimizer, scheduler and the gradient scaler; a subclass computes the losses.

    `takes` are the names of what `forward` takes. `wrap` makes of a network what is called: itself, or its
    DistributedDataParallel.
    """

    reads_text_slower = False
    """Whether the parts that read text learn at a lower rate."""

    def __init__(
        self,
        net_g: nn.Module,
        settings: StepSettings,
        takes: Sequence[str],
        wrap: Callable[[nn.Module], nn.Module] = _itself,
        make_scaler: MakeScaler = gradient_scaler,
    ) -> None:
        self.net_g, self.wrap_g, self.settings, self.takes = net_g, wrap(net_g), settings, takes
        self.device_type = next(net_g.parameters()).device.type
        self.scaler = make_scaler(self.device_type, settings.fp16)
        self.quantizer = QuantizerHook(net_g)
        text_rate = settings.text_low_lr_rate if self.reads_text_slower else None
        self.optim_g = self._optimizer(parameter_groups(net_g, settings.learning_rate, text_rate))
        self.schedulers = [self._scheduler(self.optim_g)]

    @property
    def learning_rate(self) -> float:
        """The generator's, of its first group."""
        rate: float = self.optim_g.param_groups[0]["lr"]
        return rate

    def start_epoch(self) -> None:
        """Bring the network into train mode, and the learning rate to the epoch's: epoch 1 is already decayed."""
        with _no_warning_of_unused_optimizers():
            for scheduler in self.schedulers:
                scheduler.step()
        self.wrap_g.train()

    @abstractmethod
    def __call__(self, inputs: Mapping[str, Tensor]) -> StepResult:
        """Train once on a batch, given by the names that GPT-SoVITS's `forward` has for its parts, and `wav`."""

    def _forward(self, inputs: Mapping[str, Any]) -> Any:
        given = {**dict.fromkeys(SWITCHES, self.settings.grad_ckpt), **inputs}
        return self.wrap_g(**{name: given[name] for name in self.takes if name in given})

    def _learn(self, optimizer: torch.optim.Optimizer, net: nn.Module, loss: Tensor) -> tuple[Tensor, bool]:
        """Take one step of an optimizer; return the norm of the gradients, and whether the step was skipped."""
        optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(optimizer)
        norm = gradient_norm(net)
        with counted_steps(optimizer) as steps:
            self.scaler.step(optimizer)
        return norm, not steps

    def _optimizer(self, parameters: Any) -> torch.optim.AdamW:
        numbers = self.settings
        betas = (numbers.betas[0], numbers.betas[1])
        return torch.optim.AdamW(parameters, numbers.learning_rate, betas, numbers.eps)

    def _scheduler(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.ExponentialLR:
        return torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=self.settings.lr_decay)

    def _autocast(self) -> torch.autocast:
        fp16 = self.settings.fp16
        return torch.autocast(self.device_type, dtype=torch.float16 if fp16 else None, enabled=fp16)

    def _full_precision(self) -> torch.autocast:
        return torch.autocast(self.device_type, enabled=False)


class AdversarialStep(TrainingStep):
    """The step of v1, v2 and v2Pro: discriminator, then generator."""

    reads_text_slower = True

    def __init__(
        self,
        net_g: nn.Module,
        net_d: nn.Module,
        settings: StepSettings,
        takes: Sequence[str],
        wrap: Callable[[nn.Module], nn.Module] = _itself,
        make_scaler: MakeScaler = gradient_scaler,
    ) -> None:
        super().__init__(net_g, settings, takes, wrap, make_scaler)
        self.net_d, self.wrap_d = net_d, wrap(net_d)
        self.optim_d = self._optimizer(net_d.parameters())
        self.schedulers.append(self._scheduler(self.optim_d))

    def start_epoch(self) -> None:
        """Bring both networks into train mode, and the learning rates to the epoch's."""
        super().start_epoch()
        self.wrap_d.train()

    def __call__(self, inputs: Mapping[str, Tensor]) -> StepResult:
        """Train both networks once on a batch."""
        settings, spectrogram = self.settings, self.settings.spectrogram
        hop, segment = spectrogram.hop_length, settings.segment_size

        with self._autocast():
            y_hat, kl_ssl, ids, _, z_mask, (_, z_p, m_p, logs_p, _, logs_q), *_ = self._forward(inputs)
            y_mel = slice_segments(spec_to_mel(inputs["y"], spectrogram), ids, segment)
            y_hat_mel = mel_spectrogram(y_hat.squeeze(1), spectrogram)
            y = slice_segments(inputs["wav"], ids * hop, segment * hop)

            # discriminator
            real, fake, _, _ = self.wrap_d(y, y_hat.detach())
            with self._full_precision():
                loss_disc = discriminator_loss(real, fake)
        norm_d, _ = self._learn(self.optim_d, self.net_d, loss_disc)

        # generator, judged by the discriminator as just updated
        with self._discriminator_weights_fixed():
            with self._autocast():
                _, fake, real_maps, fake_maps = self.wrap_d(y, y_hat)
                with self._full_precision():
                    losses = {
                        "generator": generator_loss(fake),
                        "feature": feature_loss(real_maps, fake_maps),
                        "mel": mel_loss(y_mel, y_hat_mel) * (settings.c_mel / MEL_WEIGHT),
                        "kl": kl_loss(z_p, logs_q, m_p, logs_p, z_mask) * settings.c_kl,
                    }
                    total = losses["generator"] + losses["feature"] + losses["mel"] + kl_ssl + losses["kl"]
            norm_g, skipped = self._learn(self.optim_g, self.net_g, total)
        self.scaler.update()

        return StepResult(
            losses={name: loss.detach() for name, loss in {"discriminator": loss_disc, **losses}.items()},
            commit_loss=kl_ssl.detach(),
            gradient_norms={"discriminator": norm_d, "generator": norm_g},
            skipped=skipped,
        )

    @contextlib.contextmanager
    def _discriminator_weights_fixed(self) -> Iterator[None]:
        # DistributedDataParallel expects the same parameters to take part each time
        learning = [each for each in self.net_d.parameters() if each.requires_grad and self.wrap_d is self.net_d]
        for parameter in learning:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in learning:
                parameter.requires_grad_(True)


class FlowMatchingStep(TrainingStep):
    """The step of v3 and v4: `forward` returns the one loss; there is no discriminator."""

    def __call__(self, inputs: Mapping[str, Tensor]) -> StepResult:
        """Train once on a batch.

        Raises:
            ValueError: `forward` returned no loss that can be trained on, or several.

        """
        with self._autocast():
            returned = self._forward(inputs)
        commit_loss = self.quantizer.commit_loss
        several = [returned] if torch.is_tensor(returned) else list(returned)
        losses = [each for each in several if torch.is_tensor(each) and each.numel() == 1 and each.requires_grad]
        losses = [each for each in losses if each is not commit_loss]
        if len(losses) != 1:
            raise ValueError(
                tr("forward returned {losses} losses that can be trained on; flow matching has one", losses=len(losses))
            )
        norm, skipped = self._learn(self.optim_g, self.net_g, losses[0])
        self.scaler.update()
        known = None if commit_loss is None else commit_loss.detach()
        return StepResult({"flow matching": losses[0].detach()}, known, {"generator": norm}, skipped)


class QuantizerHook:
    """Keeps what went into the quantizer at its last call and what came out, for the shadow commit loss."""

    def __init__(self, net_g: nn.Module) -> None:
        self.training: bool | None = None
        """Its mode at the last call since `forget`; None before one."""
        self.commit_loss: Tensor | None = None
        """As it returned it, with its graph; None where it returned none."""
        self._frames: tuple[Tensor, Tensor] | None = None
        net_g.get_submodule("quantizer").register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, args: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        self.training, self._frames = module.training, (args[0].detach(), output[0].detach())
        returned = output[2] if len(output) > 2 else None
        self.commit_loss = returned if isinstance(returned, Tensor) and returned.numel() == 1 else None

    def shadow_commit_loss(self) -> Tensor:
        """Return the mean squared distance of frames and codes, a scalar; not a number where they are not known."""
        if self._frames is None or self._frames[0].shape != self._frames[1].shape:
            return torch.tensor(float("nan"))
        x, quantized = self._frames
        return functional.mse_loss(quantized, x)

    def forget(self) -> None:
        """Let go of tensors and graph, until the next call."""
        self.training = self.commit_loss = self._frames = None


def parameter_groups(net_g: nn.Module, rate: float, text_rate: float | None) -> list[dict[str, Any]]:
    """Return the groups: everything that requires a gradient, and slower the parts that read text.

    With a `text_rate` of None there is one group.
    """
    enc_p = net_g.get_submodule("enc_p")
    names = () if text_rate is None else ("text_embedding", "encoder_text", "mrte")
    text_parts = [list(getattr(enc_p, name).parameters()) for name in names if hasattr(enc_p, name)]
    slow = {id(parameter) for part in text_parts for parameter in part}
    base = [p for p in net_g.parameters() if p.requires_grad and id(p) not in slow]
    return [{"params": base, "lr": rate}, *({"params": part, "lr": rate * (text_rate or 1)} for part in text_parts)]


@contextlib.contextmanager
def counted_steps(optimizer: torch.optim.Optimizer) -> Iterator[list[None]]:
    """Collect one entry for each step that an optimizer takes: a scaler takes none while gradients overflow."""
    steps: list[None] = []
    handle = optimizer.register_step_post_hook(lambda *_: steps.append(None))
    try:
        yield steps
    finally:
        handle.remove()


def gradient_norm(module: nn.Module) -> Tensor:
    """Return the norm of all gradients of a module, a scalar; nothing is clipped, as upstream clips nothing."""
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    if not gradients:
        return torch.zeros(())
    norm: Tensor = torch.stack(torch._foreach_norm(gradients)).norm()  # noqa: SLF001 - what torch's own clipping uses
    return norm


@contextlib.contextmanager
def _no_warning_of_unused_optimizers() -> Iterator[None]:
    """Hide torch's advice on the order of steps: upstream steps its schedulers before the first optimizer step."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
        yield
