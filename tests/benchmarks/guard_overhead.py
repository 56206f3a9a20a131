"""What a guard costs a training step of the synthesizer, on a CPU or a GPU.

Steps with and without a guard take turns. Whole steps scatter by more than the guard costs, so its own calls are timed
as well. Aim: at most 1 % of a step on a CPU, 0.5 % on a GPU, at the default interval.
"""

import statistics
import time

from results import SECONDS, Figure, Measured
from run import Run, isolated


def measure(run: Run):
    preset = "tiny" if run.quick else "v2"
    run.stage(f"steps of {preset}, plain and guarded")
    device = run.device
    if device == "auto":
        device = isolated(best_device)
    return [isolated(guarded_steps, preset, run.step_samples, device)]


def best_device():
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def guarded_steps(preset_name, samples, device):
    """Return the figure of steps of one preset."""
    import torch
    from training_loops import THREADS, OwnStep, networks, random_inputs

    import vqcheck
    from vqcheck.live.guard import DEFAULT_EVERY
    from vqcheck.synthesizer import preset

    torch.set_num_threads(THREADS)
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    chosen = preset(preset_name)
    generator, discriminator = networks(chosen, torch.device(device))
    step = OwnStep(chosen, generator, discriminator, random_inputs(chosen, generator, 2, 64, torch.device(device)))
    vqcheck.freeze(generator)
    guard = vqcheck.guard(generator)

    seconds = {"plain": [], "guarded": []}
    for sample in range(samples + 1):
        for name, times in seconds.items():
            wait()
            begun = time.perf_counter()
            step()
            if name == "guarded":
                guard.step()
            wait()
            if sample:  # the first step warms up
                times.append(time.perf_counter() - begun)

    quiet, looking = [], []
    for _ in range(10 * DEFAULT_EVERY):
        begun = time.perf_counter()
        guard.step()
        wait()
        (quiet if guard.steps % DEFAULT_EVERY else looking).append(time.perf_counter() - begun)
    call, look = statistics.median(quiet), statistics.median(looking)
    average = (call * (DEFAULT_EVERY - 1) + look) / DEFAULT_EVERY
    held = sum(copy.numel() * copy.element_size() for copy in guard._watch.start.values())
    plain = Measured("the step without a guard", tuple(seconds["plain"]))
    note = (
        f"the guard by itself: {1000 * call:.2f} ms a call, {1000 * look:.2f} ms every {DEFAULT_EVERY}th, "
        f"{average / plain.median:.3%} of a plain step; {held / 2**20:.1f} MiB held"
    )
    guarded = Measured("guarded", tuple(seconds["guarded"]))
    return Figure("guard", f"guarded {preset_name} step, {device}", SECONDS, guarded, (plain,), plain, note)
