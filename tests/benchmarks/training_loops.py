"""One training step in several ways: a loop after upstream's script, vqcheck's own step, and that step captured."""

import copy
import inspect

import torch

from vqcheck.replay.step_settings import StepSettings
from vqcheck.replay.training_step import AdversarialStep
from vqcheck.synthesizer import (
    discriminator_loss,
    feature_loss,
    generator_loss,
    kl_loss,
    linear_spectrogram,
    mel_loss,
    mel_spectrogram,
    slice_segments,
    spec_to_mel,
)
from vqcheck.synthesizer import model as model_module

NUMBERS = {"learning_rate": 1e-4, "betas": (0.8, 0.99), "eps": 1e-9}
WORDS = 40
THREADS = 2


def networks(chosen, device):
    """Return generator and discriminator with a codebook that has content, in train mode; the same every time."""
    torch.manual_seed(0)
    generator, discriminator = chosen.synthesizer(), chosen.multi_period_discriminator()
    generator.initialise_codebook(torch.randn(8, generator.ssl_proj.in_channels, 400))
    return generator.to(device).train(), discriminator.to(device).train()


def random_inputs(chosen, generator, batch, frames, device):
    """Return a batch under the names that the training step has for its parts."""
    wav = 0.1 * torch.randn(batch, 1, frames * chosen.spectrogram.hop_length)
    lengths = torch.full((batch,), frames - 10)
    lengths[0] = frames
    inputs = {
        "wav": wav,
        "y": linear_spectrogram(wav[:, 0], chosen.spectrogram),
        "y_lengths": lengths,
        "ssl": torch.randn(batch, generator.ssl_proj.in_channels, frames),
        "text": torch.randint(0, 300, (batch, WORDS)),
        "text_lengths": torch.full((batch,), WORDS),
    }
    if generator.is_v2pro:
        inputs["sv_emb"] = torch.randn(batch, generator.sv_emb.in_features)
    return {name: value.to(device) for name, value in inputs.items()}


class UpstreamLoop:
    """The step as upstream's script writes it down: the norm of every gradient read back, AdamW as torch chooses.

    The discriminator's weight gradients are computed while the generator trains, and thrown away.
    """

    def __init__(self, chosen, generator, discriminator, inputs, *, fp16=False):
        self.generator, self.discriminator, self.inputs, self.fp16 = generator, discriminator, inputs, fp16
        self.settings, self.segment = chosen.spectrogram, chosen.segment_size
        self.device = inputs["wav"].device.type
        self.scaler = torch.amp.GradScaler(self.device, enabled=fp16)
        numbers = (NUMBERS["learning_rate"], NUMBERS["betas"], NUMBERS["eps"])
        self.optim_g = torch.optim.AdamW(generator.parameters(), *numbers)
        self.optim_d = torch.optim.AdamW(discriminator.parameters(), *numbers)

    def __call__(self):
        inputs, hop = self.inputs, self.settings.hop_length
        with self.autocast():
            names = ("ssl", "y", "y_lengths", "text", "text_lengths", "sv_emb")
            o, commit_loss, ids, _, mask, latents, _ = self.generator(*(inputs.get(name) for name in names))
            _, z_p, m_p, logs_p, _, logs_q = latents
            y_mel = slice_segments(spec_to_mel(inputs["y"], self.settings), ids, self.segment)
            o_mel = mel_spectrogram(o.squeeze(1), self.settings)
            y = slice_segments(inputs["wav"], ids * hop, self.segment * hop)
            judged = self.discriminator(y, o.detach())
        loss_d = discriminator_loss(*judged[:2])
        self.learn(self.optim_d, self.discriminator, loss_d)
        with self.autocast():
            _, fake, real_maps, fake_maps = self.discriminator(y, o)
        loss_g = (
            generator_loss(fake)
            + feature_loss(real_maps, fake_maps)
            + mel_loss(y_mel, o_mel)
            + commit_loss
            + kl_loss(z_p, logs_q, m_p, logs_p, mask)
        )
        self.learn(self.optim_g, self.generator, loss_g)
        self.scaler.update()
        return (loss_d + loss_g).detach()

    def learn(self, optimizer, network, loss):
        optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(optimizer)
        total = 0.0
        for parameter in network.parameters():
            if parameter.grad is not None:
                total += parameter.grad.norm(2).item() ** 2
        self.scaler.step(optimizer)
        return total**0.5

    def autocast(self):
        return torch.autocast(self.device, dtype=torch.float16 if self.fp16 else None, enabled=self.fp16)


class OwnStep:
    """vqcheck's own training step, as a replay takes it."""

    def __init__(self, chosen, generator, discriminator, inputs, *, fp16=False):
        settings = StepSettings(
            **NUMBERS,
            lr_decay=1.0,
            text_low_lr_rate=1.0,
            c_mel=45.0,
            c_kl=1.0,
            segment_size=chosen.segment_size,
            spectrogram=chosen.spectrogram,
            fp16=fp16,
        )
        self.inputs = inputs
        self.step = AdversarialStep(
            generator, discriminator, settings, list(inspect.signature(generator.forward).parameters)
        )

    def __call__(self):
        result = self.step(self.inputs)
        return sum(result.losses.values()) + result.commit_loss


class CapturedStep:
    """Our own step as one CUDA graph for one shape of batch: what is left where the host only starts it.

    The segments are drawn on the device, because a graph holds no draw of the CPU's.
    """

    def __init__(self, own):
        self.own = own  # its tensors are the graph's
        drawn = model_module.rand_slice_segments
        model_module.rand_slice_segments = self.segments
        try:
            for optimizer in (own.step.optim_g, own.step.optim_d):
                for group in optimizer.param_groups:
                    group["capturable"] = True
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(3):
                    own()
            torch.cuda.current_stream().wait_stream(stream)
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.loss = own()
        finally:
            model_module.rand_slice_segments = drawn

    def __call__(self):
        self.graph.replay()
        return self.loss

    @staticmethod
    def segments(x, lengths, size):
        starts = (torch.rand([x.size(0)], device=x.device) * (lengths - size + 1)).long()
        return slice_segments(x, starts, size), starts


def copies(*modules):
    return [copy.deepcopy(module) for module in modules]
