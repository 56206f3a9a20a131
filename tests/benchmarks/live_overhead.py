"""What a guard and a monitor cost a training step of the synthesizer, on a CPU or a GPU.

Steps with and without take turns. Whole steps scatter by more than either costs, so what they do is timed by itself as
well, and the note gives it as a share of the plain step of the same run. Aims at the default interval: a guard at most
0.1 % of a v2 step; a monitor at most 1 % on a CPU, 0.5 % on a GPU.
"""

import statistics
import time

from results import SECONDS, Figure, Measured
from run import Run, isolated

SERIES = 30
"""Intervals between two looks that are timed."""


def guard(run: Run):
    return measured(run, guarded_steps, "guarded")


def monitor(run: Run):
    return measured(run, monitored_steps, "monitored")


def measured(run, steps, word):
    preset = "tiny" if run.quick else "v2"
    run.stage(f"steps of {preset}, plain and {word}")
    device = isolated(best_device) if run.device == "auto" else run.device
    return [isolated(steps, preset, run.step_samples, device)]


def best_device():
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


class Training:
    """A frozen generator and its training step on a device."""

    def __init__(self, preset_name, device):
        import torch
        from training_loops import THREADS, OwnStep, networks, random_inputs

        import vqcheck
        from vqcheck.synthesizer import preset

        torch.set_num_threads(THREADS)
        self.wait = torch.cuda.synchronize if device == "cuda" else lambda: None
        chosen = preset(preset_name)
        generator, discriminator = networks(chosen, torch.device(device))
        inputs = random_inputs(chosen, generator, 2, 64, torch.device(device))
        self.generator = generator
        self.step = OwnStep(chosen, generator, discriminator, inputs)
        self.ssl = inputs["ssl"]
        vqcheck.freeze(generator)

    def timed(self, work):
        """Return the seconds of some work, until the device has done it."""
        self.wait()
        begun = time.perf_counter()
        work()
        self.wait()
        return time.perf_counter() - begun

    def in_turn(self, samples, arms):
        """Return name -> seconds of each sample; the first of each only warms up."""
        seconds = {name: [] for name in arms}
        for sample in range(samples + 1):
            for name, work in arms.items():
                took = self.timed(work)
                if sample:
                    seconds[name].append(took)
        return seconds


def guarded_steps(preset_name, samples, device):
    """Return the figure of steps of one preset, with a guard and without."""
    import vqcheck
    from vqcheck.live.guard import DEFAULT_EVERY

    training = Training(preset_name, device)
    watch = vqcheck.guard(training.generator)
    seconds = training.in_turn(samples, {"plain": training.step, "guarded": lambda: (training.step(), watch.step())})

    while watch.steps % DEFAULT_EVERY:
        watch.step()
    calls = training.in_turn(
        SERIES, {"quiet": lambda: [watch.step() for _ in range(DEFAULT_EVERY - 1)], "looking": watch.step}
    )
    quiet, look = statistics.median(calls["quiet"]), statistics.median(calls["looking"])
    plain = Measured("the step without a guard", tuple(seconds["plain"]))
    note = (
        f"the guard by itself: {1000 * quiet / (DEFAULT_EVERY - 1):.3f} ms a call, {1000 * look:.3f} ms every "
        f"{DEFAULT_EVERY}th, {(quiet + look) / DEFAULT_EVERY / plain.median:.3%} of a plain step"
    )
    guarded = Measured("guarded", tuple(seconds["guarded"]))
    return Figure("guard", f"guarded {preset_name} step, {device}", SECONDS, guarded, (plain,), plain, note)


def monitored_steps(preset_name, samples, device):
    """Return the figure of steps of one preset, with a monitor and without."""
    import torch

    import vqcheck
    from vqcheck.live.monitor import DEFAULT_EVERY

    training = Training(preset_name, device)
    generator = training.generator
    sequence = generator.ssl_proj(training.ssl).detach()

    bare = {module: dict(module._forward_hooks) for module in generator.modules()}
    watch = vqcheck.monitor(generator)
    hooked = {module: dict(module._forward_hooks) for module in generator.modules()}
    watched = [module for module in hooked if hooked[module] != bare[module]]

    def switch(hooks):
        for module in watched:
            module._forward_hooks.clear()
            module._forward_hooks.update(hooks[module])

    def monitored(work):
        def run():
            switch(hooked)
            work()
            switch(bare)

        return run

    switch(bare)

    seconds = training.in_turn(
        samples, {"plain": training.step, "monitored": monitored(lambda: (training.step(), watch.step()))}
    )

    def forward():
        with torch.no_grad():
            for _ in range(DEFAULT_EVERY):
                generator.quantizer(sequence)

    forwards = training.in_turn(SERIES, {"plain": forward, "monitored": monitored(forward), "read": watch.read})
    plain_forward, hooked_forward, read = (statistics.median(forwards[name]) for name in ("plain", "monitored", "read"))
    hooks = max(hooked_forward - plain_forward, 0.0)
    plain = Measured("the step without a monitor", tuple(seconds["plain"]))
    note = (
        f"the monitor by itself: {1000 * hooks / DEFAULT_EVERY:.3f} ms a step, {1000 * read:.3f} ms every "
        f"{DEFAULT_EVERY}th, {(hooks + read) / DEFAULT_EVERY / plain.median:.3%} of a plain step"
    )
    timed = Measured("monitored", tuple(seconds["monitored"]))
    return Figure("monitor", f"monitored {preset_name} step, {device}", SECONDS, timed, (plain,), plain, note)
