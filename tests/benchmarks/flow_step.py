"""How long a training step of v3 takes, in full and with LoRA, and how much memory: our own, and the plain one.

The plain one is a loop after upstream's script over a graph of torch's own modules and its own attention; target passes
build a graph that is thrown away, and the norm of every gradient is read back. The ways take turns within one run.

The losses of the first steps, plain and bootstrapped, stand beside it: they must be the same computation.

What was found on a CPU (one thread, its own time, torch 2.13): of the plain step our own takes 0.75 to 0.77 at v3's
width with two blocks (1 x 48 frames), 0.86 with LoRA, and 0.85 to 0.90 for tiny-v3. The peak of the whole process is 2
to 4 % lower (2 x 200 frames), with what making the plain graph left behind. Neither was measured on a GPU.

The backward pass of our classes had some 15 operators more than the plain one for each two blocks, all of the rotary
positions; as one complex product they are gone. The attention is torch's own in both.
"""

import contextlib
import functools
import inspect
import random

import torch
from formulations import plain, plain_bands
from replay_overhead import timed
from results import SECONDS, Figure, Measured
from step_counts import counted
from torch.nn import functional
from training_loops import NUMBERS, THREADS, WORDS, copies

from vqcheck.replay.training_step import FlowMatchingStep, StepSettings
from vqcheck.synthesizer import diffusion_transformer as transformer_module
from vqcheck.synthesizer import linear_spectrogram, preset
from vqcheck.synthesizer.lora import add_lora

BOOTSTRAPPED = (0, 1)
"""Seeds of Python's generator: the first gives a plain step, the second a bootstrapped one."""


def flow_steps(preset_name, samples, device_name="cpu", batch=2, frames=64, fp16=False, lora_rank=None, changes=None):
    """Return the figures of a plain and of a bootstrapped step of one preset; `changes` are sizes of the model."""
    device = torch.device(device_name)
    torch.set_num_threads(THREADS)
    chosen = preset(preset_name)
    torch.manual_seed(0)
    network = chosen.synthesizer(freeze_quantizer=False, **(changes or {}))
    network.initialise_codebook(torch.randn(8, network.ssl_proj.in_channels, 400))
    network.hold()
    if lora_rank:
        add_lora(network, lora_rank)
    network.to(device).train()
    inputs = random_inputs(chosen, network, batch, frames, device)
    arms = {
        "our own step": OwnFlowStep(chosen, *copies(network), inputs, fp16=fp16),
        "our classes in upstream's loop": UpstreamFlowLoop(*copies(network), inputs, fp16=fp16),
        "plain graph in upstream's loop": UpstreamFlowLoop(*map(plain_flow, copies(network)), inputs, fp16=fp16),
    }
    del network
    return [
        _figure(arms, seed, samples, device, _named(preset_name, device, fp16, lora_rank, batch, frames, seed))
        for seed in BOOTSTRAPPED
    ]


def _named(preset_name, device, fp16, lora_rank, batch, frames, seed):
    kind = f"LoRA {lora_rank}" if lora_rank else "full"
    target = "bootstrapped" if seed else "plain"
    precision = "fp16" if fp16 else "fp32"
    return f"{preset_name} {kind} {target} step, {device.type}, {precision}, {batch} x {frames} frames"


def _figure(arms, seed, samples, device, name):
    seconds, losses, notes = {name: [] for name in arms}, {}, []
    for sample in range(-1, samples):
        for arm, step in arms.items():
            torch.manual_seed(max(sample, 0))
            random.seed(seed)
            with formulation(arm):
                if sample < 0:
                    losses[arm] = float(step())
                else:
                    seconds[arm].append(timed(step, device))
    for arm, step in arms.items():
        random.seed(seed)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
        with formulation(arm):
            counts = counted(step)
        parts = " + ".join(str(sum(each.values())) for each in (counts.forward, counts.backward, counts.optimizer))
        note = f"{arm}: {parts} operators, {counts.waits} waits"
        if device.type == "cuda":
            note += f", {(torch.cuda.max_memory_allocated() - before) / 2**20:.0f} MiB above what lies there"
        notes.append(note)
    mine, *others = (Measured(arm, tuple(values)) for arm, values in seconds.items())
    notes.append(", ".join(f"loss {loss:.5f}" for loss in losses.values()))
    return Figure("flow", name, SECONDS, mine, tuple(others), None, "; ".join(notes))


def random_inputs(chosen, network, batch, frames, device):
    """Return a batch under the names that `forward` has for its parts."""
    wav = 0.1 * torch.randn(batch, frames * chosen.spectrogram.hop_length)
    lengths = torch.full((batch,), frames - 10)
    lengths[0] = frames
    per_frame = float(chosen.mel.frames)
    inputs = {
        "y": linear_spectrogram(wav, chosen.spectrogram),
        "y_lengths": lengths,
        "ssl": torch.randn(batch, network.ssl_proj.in_channels, frames),
        "ssl_lengths": lengths,
        "mel": torch.randn(batch, chosen.mel.channels, chosen.mel.width(frames)).clamp(-1, 1),
        "mel_lengths": (lengths * per_frame).long(),
        "text": torch.randint(0, 300, (batch, WORDS)),
        "text_lengths": torch.full((batch,), WORDS),
    }
    return {name: value.to(device) for name, value in inputs.items()}


class OwnFlowStep:
    """vqcheck's own training step, as a replay takes it."""

    def __init__(self, chosen, network, inputs, *, fp16):
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
        self.step = FlowMatchingStep(network, settings, list(inspect.signature(network.forward).parameters))

    def __call__(self):
        return self.step(self.inputs).losses["flow matching"]


class UpstreamFlowLoop:
    """The step as upstream's script writes it down, with AdamW as torch chooses."""

    def __init__(self, network, inputs, *, fp16):
        self.network, self.inputs, self.fp16 = network, inputs, fp16
        self.device = inputs["y"].device.type
        self.scaler = torch.amp.GradScaler(self.device, enabled=fp16)
        learning = [each for each in network.parameters() if each.requires_grad]
        self.optimizer = torch.optim.AdamW(learning, NUMBERS["learning_rate"], NUMBERS["betas"], NUMBERS["eps"])

    def __call__(self):
        with torch.autocast(self.device, dtype=torch.float16 if self.fp16 else None, enabled=self.fp16):
            loss = self.network(**self.inputs, use_grad_ckpt=False)
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        for parameter in self.network.parameters():
            if parameter.grad is not None:
                parameter.grad.norm(2).item()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.detach()


def plain_flow(network):
    """Return the network with torch's own modules, and the loss written item by item."""
    plain(network)
    network.cfm.forward = functools.partial(plain_loss, network.cfm.estimator)
    return network


def plain_loss(estimator, x1, x_lens, prompt_lens, mu, use_grad_ckpt):
    """Compute the loss of flow matching as the description of v3 has it, without a thought for speed."""

    def flow(x, time, step):
        return estimator(x, prompt, x_lens, time, step, mu, use_grad_ckpt).transpose(1, 2)

    t, x0 = torch.rand([len(x1)], device=mu.device, dtype=x1.dtype), torch.randn_like(x1)
    velocity = x1 - x0
    xt, dt, prompt = x0 + t[:, None, None] * velocity, torch.zeros_like(t), torch.zeros_like(x1)
    for item, known in enumerate(prompt_lens):
        prompt[item, :, :known] = x1[item, :, :known]
        xt[item, :, :known] = 0
    if random.random() < 0.3:
        d = 1 / 2 ** torch.randint(2, 8, [len(x1)], device=mu.device)
        told = d.clone()
        told[d < 0.01] = 0
        first = flow(xt, t, told).detach()
        second = flow(xt + d[:, None, None] * first, t + d, told).detach()
        velocity, dt = (first + second) / 2, 2 * d
    predicted = flow(xt, t, dt)
    loss = 0
    for item, (known, end) in enumerate(zip(prompt_lens, x_lens, strict=True)):
        loss = loss + functional.mse_loss(predicted[item, :, known:end], velocity[item, :, known:end])
    return loss / len(x1)


def plain_rotation(x, rotary):
    """Turn by the textbook's formula: the vector times cosines, and its halves exchanged times sines."""
    cos, sin = (each.repeat_interleave(2, dim=-1) for each in (rotary.real, rotary.imag))
    turned, kept = x[..., : cos.size(-1)], x[..., cos.size(-1) :]
    even, odd = turned.unflatten(-1, (-1, 2)).unbind(-1)
    exchanged = torch.stack((-odd, even), dim=-1).flatten(-2)
    return torch.cat(((turned.float() * cos + exchanged.float() * sin).to(x.dtype), kept), dim=-1)


@contextlib.contextmanager
def formulation(name):
    """Provide the context in which a way of taking the step is run."""
    if not name.startswith("plain"):
        yield
        return
    kept, transformer_module.rotate = transformer_module.rotate, plain_rotation
    try:
        with plain_bands():
            yield
    finally:
        transformer_module.rotate = kept
