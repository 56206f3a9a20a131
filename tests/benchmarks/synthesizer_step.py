"""How long a training step of both networks takes: our own, and a loop after upstream's with our classes or plain ones.

The ways take turns within one run; what counts is the ratio of the medians, not the seconds.  Their total losses stand
beside it: they must be the same computation.  Where there is no GPU, the operators and waits of a step stand for it.

What was found (v2, H200, torch 2.11; a step of 8 x 300 frames in half precision; its host is slow, and scatters by a
fifth).  The step is bound by the host: captured as one CUDA graph it takes 54 ms, issued operator by operator 206 ms.

What paid:
- A fused optimizer, and one norm read with the losses: 881 waits and some 9,000 operators a step on a CPU, 1,105 waits
  on CUDA.  Our own step takes 0.73 of the plain loop's 209 ms in full precision (0.68 at 32 x 400).
- The discriminator's weight gradients off while the generator learns, and both of its batches in one pass while it
  learns itself; queries, keys and values of self-attention in one convolution; no mask multiplied in twice.  With the
  optimizer left as it is our classes take 0.86 of the plain ones in full precision.
- Casting all weights together: of 5,700 operators in half precision 1,800 were casts of single tensors, which is why it
  took longer than full precision.  At 8 x 300 frames our own step went from 0.93 to 0.71 of the plain loop, our classes
  in that loop from 1.00 to 0.86; at 32 x 400, where the device is the bound, 0.80 and 0.97 stayed 0.81 and 0.97.
On a CPU (2 x 64 frames, one thread) our own step takes 0.82 of the plain loop's CPU time; most of what is left are the
convolutions, which are the same in both.

What did not pay:
- Channels last: between 0.91 and 1.03 of our own step, in two runs.
- A captured step as an option of the replay.  It would take 0.19 of the plain loop (0.6 at 32 x 400 in full precision),
  for batches of one shape; its loss comes out near the others' in half precision and at half of them in full, which was
  not followed up, so the time is an estimate.  A replay's batches have nearly as many shapes as steps, and each is
  captured anew after steps that warm it up.  Above all it would take the evidence away: a graph repeats what Python did
  when it was captured, while a replay asks whether the quantizer is in eval mode in *this* step, after the `train()` of
  this epoch, and who wrote.  Compiling has to compile anew for the same shapes; it was not measured.
- Computing weight norms in groups was not tried: at most 400 operators of 4,000, for a layout of weights that nobody
  would recognise.
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
