"""What `vqcheck run` costs a training script: its steps under a guard, beside those of the bare script.

The two take turns as whole processes, and each times its own steps behind the first ones, which are all looked at.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

from results import SECONDS, Figure, Measured
from run import Run

ROUNDS = 3
_FIRST = 21
"""Steps that are not counted: the guard looks after each of the first 20."""


def measure(run: Run):
    preset = "tiny" if run.quick else "v2"
    samples = max(run.step_samples // ROUNDS, 1)
    bare = [sys.executable, __file__, preset, str(samples)]
    sides = {"bare": bare, "watched": [sys.executable, "-m", "vqcheck", "run", "-q", "--", *bare]}
    seconds = {name: [] for name in sides}
    with tempfile.TemporaryDirectory() as folder:
        target = os.path.join(folder, "seconds.json")
        for turn in range(ROUNDS):
            for name, command in sides.items():
                run.stage(f"script with steps of {preset}, {name}, {turn + 1} of {ROUNDS}")
                subprocess.run([*command, target], check=True)
                with open(target, encoding="utf-8") as file:
                    seconds[name] += json.load(file)
    plain = Measured("the bare script", tuple(seconds["bare"]))
    watched = Measured("under vqcheck run", tuple(seconds["watched"]))
    note = f"under vqcheck run: {watched.median / plain.median - 1:+.2%} a step"
    return [Figure("run", f"{preset} step of a script", SECONDS, watched, (plain,), plain, note)]


def train(preset_name, samples, target):
    """Train as a script of a user's does, which knows nothing of vqcheck's watching, and write what each step took."""
    import torch
    from training_loops import THREADS, OwnStep, networks, random_inputs

    from vqcheck.synthesizer import preset

    torch.set_num_threads(THREADS)
    chosen = preset(preset_name)
    generator, discriminator = networks(chosen, torch.device("cpu"))
    inputs = random_inputs(chosen, generator, 2, 64, torch.device("cpu"))
    step = OwnStep(chosen, generator, discriminator, inputs)
    generator.quantizer.eval()
    seconds = []
    for number in range(_FIRST + int(samples)):
        begun = time.perf_counter()
        step()
        if number >= _FIRST:
            seconds.append(time.perf_counter() - begun)
    with open(target, "w", encoding="utf-8") as file:
        json.dump(seconds, file)


if __name__ == "__main__":
    train(*sys.argv[1:])
