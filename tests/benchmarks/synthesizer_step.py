"""How long a training step of both networks takes: our own, and a loop after upstream's with our classes or plain ones.

The ways take turns within one run; what counts is the ratio of the medians, not the seconds.  Their total losses stand
beside it: they must be the same computation.
"""

import contextlib

import torch
from formulations import frames_along_memory, plain, plain_bands
from replay_overhead import timed
from results import SECONDS, Figure, Measured
from step_counts import counted
from training_loops import THREADS, CapturedStep, OwnStep, UpstreamLoop, copies, networks, random_inputs

from vqcheck.synthesizer import preset


def steps(preset_name, samples, device_name="cpu", batch=2, frames=64, fp16=False):
    """Return the figure of steps of one preset."""
    device = torch.device(device_name)
    torch.set_num_threads(THREADS)
    chosen = preset(preset_name)
    both = networks(chosen, device)
    inputs = random_inputs(chosen, both[0], batch, frames, device)
    arms = {
        "our own step": OwnStep(chosen, *copies(*both), inputs, fp16=fp16),
        "our classes in upstream's loop": UpstreamLoop(chosen, *copies(*both), inputs, fp16=fp16),
        "plain graph in upstream's loop": UpstreamLoop(chosen, *map(plain, copies(*both)), inputs, fp16=fp16),
    }
    notes = []
    if device.type == "cuda":
        generator, discriminator = copies(*both)
        arms["our own step, channels last"] = OwnStep(
            chosen, frames_along_memory(generator), discriminator, inputs, fp16=fp16
        )
        try:
            arms["our own step, captured"] = CapturedStep(OwnStep(chosen, *copies(*both), inputs, fp16=fp16))
        except RuntimeError as error:
            notes.append(f"not captured: {' '.join(str(error).split())[:300]}")
    seconds = {name: [] for name in arms}
    losses = {}
    for sample in range(-1, samples):
        for name, step in arms.items():
            torch.manual_seed(max(sample, 0))
            with formulation(name):
                if sample < 0:  # the first step warms up, and must be the same computation in all of them
                    losses[name] = float(step())
                else:
                    seconds[name].append(timed(step, device))
    for name in list(arms)[:3]:
        with formulation(name):
            counts = counted(arms[name])
        notes.append(f"{name}: {counts.operators} operators, {counts.waits} waits")
    mine, *others = (Measured(name, tuple(values)) for name, values in seconds.items())
    notes.append(", ".join(f"loss {loss:.4f}" for loss in losses.values()))
    name = f"{preset_name} step, {device.type}, {'fp16' if fp16 else 'fp32'}, {batch} x {frames} frames"
    return Figure("synthesizer", name, SECONDS, mine, tuple(others), None, "; ".join(notes))


def formulation(name):
    """Return the context in which a way of taking the step is run."""
    return plain_bands() if name.startswith("plain") else contextlib.nullcontext()
