"""The s2 training step of GPT-SoVITS: discriminator, then generator, in upstream's order.

Written to be read from top to bottom. The one liberty taken: gradients of the discriminator's weights are switched off
while the generator trains. Upstream computes them and throws them away at the discriminator's next `zero_grad`.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vqcheck.experiment.config import TrainingConfig
from vqcheck.replay.batch import Batch
from vqcheck.synthesizer import (
    MultiPeriodDiscriminator,
    SpectrogramSettings,
    SynthesizerTrn,
    discriminator_loss,
    feature_loss,
    generator_loss,
    kl_loss,
    mel_loss,
    mel_spectrogram,
    slice_segments,
    spec_to_mel,
)
from vqcheck.synthesizer.losses import MEL_WEIGHT


@dataclass(frozen=True)
class StepResult:
    """What one step gives, still on the device: scalars `[]`."""

    losses: dict[str, Tensor]
    commit_loss: Tensor
    gradient_norms: dict[str, Tensor]
    skipped: bool
    """The gradient scaler skipped the generator's optimizer step."""


MakeScaler = Callable[[str, bool], torch.amp.GradScaler]
"""From the type of a device, and whether training is in half precision, to the gradient scaler."""


def gradient_scaler(device_type: str, fp16: bool) -> torch.amp.GradScaler:
    """Return the gradient scaler that upstream uses."""
    return torch.amp.GradScaler(device_type, enabled=fp16)


class TrainingStep:
    """Both networks with their optimizers, schedulers and the gradient scaler.

    `wrap_g` and `wrap_d` are what `forward` is called on: the networks themselves, or their DistributedDataParallel.
    """

    def __init__(
        self,
        net_g: SynthesizerTrn,
        net_d: MultiPeriodDiscriminator,
        training: TrainingConfig,
        spectrogram: SpectrogramSettings,
        fp16: bool,
        wrap_g: nn.Module | None = None,
        wrap_d: nn.Module | None = None,
        make_scaler: MakeScaler = gradient_scaler,
    ) -> None:
        self.net_g, self.net_d = net_g, net_d
        self.wrap_g, self.wrap_d = wrap_g or net_g, wrap_d or net_d
        self.spectrogram = spectrogram
        self.mel_weight = training.c_mel / MEL_WEIGHT
        self.kl_weight = training.c_kl
        self.fp16 = fp16
        self.device_type = next(net_g.parameters()).device.type
        self.scaler = make_scaler(self.device_type, fp16)

        rate = training.learning_rate
        betas = (training.betas[0], training.betas[1])
        groups = parameter_groups(net_g, rate, training.text_low_lr_rate)
        self.optim_g = torch.optim.AdamW(groups, rate, betas, training.eps)
        self.optim_d = torch.optim.AdamW(net_d.parameters(), rate, betas, training.eps)
        self.schedulers = [
            torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=training.lr_decay)
            for optimizer in (self.optim_g, self.optim_d)
        ]

    def start_epoch(self) -> None:
        """Bring both networks into train mode, and the learning rate to the epoch's: epoch 1 is already decayed."""
        with _no_warning_of_unused_optimizers():
            for scheduler in self.schedulers:
                scheduler.step()
        self.wrap_g.train()
        self.wrap_d.train()

    def __call__(self, batch: Batch) -> StepResult:
        """Train once on a batch."""
        hop, segment = self.spectrogram.hop_length, self.net_g.segment_size
        ssl = batch.ssl
        ssl.requires_grad = False
        speaker = () if batch.sv_emb is None else (batch.sv_emb,)

        with self._autocast():
            y_hat, kl_ssl, ids_slice, _, z_mask, (_, z_p, m_p, logs_p, _, logs_q), _ = self.wrap_g(
                ssl, batch.spec, batch.spec_lengths, batch.text, batch.text_lengths, *speaker
            )
            mel = spec_to_mel(batch.spec, self.spectrogram)
            y_mel = slice_segments(mel, ids_slice, segment)
            y_hat_mel = mel_spectrogram(y_hat.squeeze(1), self.spectrogram)
            y = slice_segments(batch.wav, ids_slice * hop, segment * hop)

            # discriminator
            real, fake, _, _ = self.wrap_d(y, y_hat.detach())
            with self._full_precision():
                loss_disc = discriminator_loss(real, fake)
        self.optim_d.zero_grad()
        self.scaler.scale(loss_disc).backward()  # type: ignore[no-untyped-call]
        self.scaler.unscale_(self.optim_d)
        norm_d = gradient_norm(self.net_d)
        self.scaler.step(self.optim_d)

        # generator, judged by the discriminator as just updated
        with self._discriminator_weights_fixed():
            with self._autocast():
                _, fake, real_maps, fake_maps = self.wrap_d(y, y_hat)
                with self._full_precision():
                    losses = {
                        "generator": generator_loss(fake),
                        "feature": feature_loss(real_maps, fake_maps),
                        "mel": mel_loss(y_mel, y_hat_mel) * self.mel_weight,
                        "kl": kl_loss(z_p, logs_q, m_p, logs_p, z_mask) * self.kl_weight,
                    }
                    total = losses["generator"] + losses["feature"] + losses["mel"] + kl_ssl + losses["kl"]
            self.optim_g.zero_grad()
            self.scaler.scale(total).backward()
        self.scaler.unscale_(self.optim_g)
        norm_g = gradient_norm(self.net_g)
        with counted_steps(self.optim_g) as steps:
            self.scaler.step(self.optim_g)
        self.scaler.update()

        return StepResult(
            losses={name: loss.detach() for name, loss in {"discriminator": loss_disc, **losses}.items()},
            commit_loss=kl_ssl.detach(),
            gradient_norms={"discriminator": norm_d, "generator": norm_g},
            skipped=not steps,
        )

    @property
    def learning_rate(self) -> float:
        """The generator's, of its first group."""
        rate: float = self.optim_g.param_groups[0]["lr"]
        return rate

    def _autocast(self) -> torch.amp.autocast:
        return torch.amp.autocast(self.device_type, dtype=torch.float16 if self.fp16 else None, enabled=self.fp16)

    def _full_precision(self) -> torch.amp.autocast:
        return torch.amp.autocast(self.device_type, enabled=False)

    @contextlib.contextmanager
    def _discriminator_weights_fixed(self) -> Iterator[None]:
        # DistributedDataParallel expects the same parameters to take part each time
        if self.wrap_d is not self.net_d:
            yield
            return
        self.net_d.requires_grad_(False)
        try:
            yield
        finally:
            self.net_d.requires_grad_(True)


def parameter_groups(net_g: SynthesizerTrn, rate: float, text_rate: float) -> list[dict[str, object]]:
    """Return the four groups: everything that requires a gradient, and slower the three parts that read text."""
    text_parts = (net_g.enc_p.text_embedding, net_g.enc_p.encoder_text, net_g.enc_p.mrte)
    in_text_parts = {id(parameter) for part in text_parts for parameter in part.parameters()}
    base = [p for p in net_g.parameters() if p.requires_grad and id(p) not in in_text_parts]
    return [
        {"params": base, "lr": rate},
        *({"params": list(part.parameters()), "lr": rate * text_rate} for part in text_parts),
    ]


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
    norm: Tensor = torch.stack(torch._foreach_norm(gradients)).norm()  # noqa: SLF001 - what torch's own clipping uses
    return norm


@contextlib.contextmanager
def _no_warning_of_unused_optimizers() -> Iterator[None]:
    """Hide torch's advice on the order of steps: upstream steps its schedulers before the first optimizer step."""
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
        yield
