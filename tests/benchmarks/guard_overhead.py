"""What a guard costs a training step of the full-size synthesizer, on a CPU or a GPU.

Run by hand: `python tests/benchmarks/guard_overhead.py` (`--device cuda`).  Steps with and without a guard take turns,
so that a busy machine slows both; whole steps scatter by more than the guard costs, so its own calls are timed as well.
Aim: at most 1 % of a step on a CPU, 0.5 % on a GPU, at the default interval.

With the v2 sizes, two threads of a busy x86 server and torch 2.13: a step of 4.28 s, a call of 1.1 ms, so 0.03 %; whole
guarded steps came to 1.016 of plain ones, which is their scatter.
"""

import argparse
import statistics
import time

import torch
from synthesizer_step import Step, random_batch

import vqcheck
from vqcheck.runtime.guard import DEFAULT_EVERY
from vqcheck.synthesizer import preset


def main():
    """Print medians of steps, of guard calls without and with a look, and the guard's share of a step."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--preset", default="v2")
    options.add_argument("--samples", type=int, default=7)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--device", default="cpu")
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    wait = torch.cuda.synchronize if given.device == "cuda" else lambda: None

    torch.manual_seed(0)
    chosen = preset(given.preset)
    generator, discriminator = chosen.synthesizer(), chosen.multi_period_discriminator()
    batch = random_batch(chosen, generator)
    generator.initialise_codebook(torch.randn(8, batch["ssl"].size(1), 400))
    generator.to(given.device).train()
    batch = {name: value.to(given.device) if torch.is_tensor(value) else value for name, value in batch.items()}
    step = Step(chosen, generator, discriminator.to(given.device).train(), batch, train_discriminator_twice=False)
    vqcheck.freeze(generator)
    guard = vqcheck.guard(generator)

    seconds = {"plain": [], "guarded": []}
    for sample in range(given.samples + 1):
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
    plain, guarded = (statistics.median(times) for times in seconds.values())
    call = statistics.median(quiet)
    look = statistics.median(looking)
    average = (call * (DEFAULT_EVERY - 1) + look) / DEFAULT_EVERY
    held = sum(copy.numel() * copy.element_size() for copy in guard._comparison.copies.values())

    print(f"preset {given.preset}, {given.device}, torch {torch.__version__}, {given.threads} threads")
    print(f"{plain:9.4f} s  a step, plain (median of {given.samples})")
    print(f"{guarded:9.4f} s  a step, guarded: {guarded / plain:.4f} of plain")
    print(f"{1e3 * call:9.4f} ms a call without a look (median of {len(quiet)})")
    print(f"{1e3 * look:9.4f} ms a call with a look (median of {len(looking)})")
    print(f"{100 * average / plain:9.4f} % of a plain step, with a look every {DEFAULT_EVERY} steps")
    print(f"{held / 2**20:9.2f} MiB held")


if __name__ == "__main__":
    main()
