"""What the tracing adds to a full-size training step, side by side with the same step without it.

Run by hand: `python tests/benchmarks/replay_overhead.py`.  Traced and plain steps take turns on one model and batch, so
that a busy machine slows both; what counts is the ratio of the medians.  The tracing's own time is also measured by
itself, which is steadier: `look / plain` is the share that a user pays (the target is at most 2 %).
"""

import argparse
import statistics
import time

import torch

from vqcheck.experiment.config import Config
from vqcheck.replay.arm import ArmRun
from vqcheck.replay.run import choose_device, choose_fp16, prepare
from vqcheck.replay.strategies import STRATEGIES
from vqcheck.replay.torch_settings import upstream_settings


def main():
    """Print medians and ratios for a frozen and a drifting arm."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--version", default="v2")
    options.add_argument("--samples", type=int, default=9)
    options.add_argument("--batch-size", type=int, default=2)
    options.add_argument("--device", default="auto")
    options.add_argument("--threads", type=int, default=None)
    given = options.parse_args()
    config = Config().changed("subject", version=given.version).changed("training", batch_size=given.batch_size)
    device = choose_device(given.device)
    with upstream_settings(device, given.threads):
        conditions = prepare(config, device, choose_fp16(config, device))
        print(f"{given.version}, batch {given.batch_size}, {device}, torch {torch.__version__}")
        for strategy in ("maybe-no-grad", "requires-grad"):
            measure(ArmRun(conditions, STRATEGIES[strategy]), strategy, given.samples, device)


def measure(arm, strategy, samples, device):
    """Print the medians of one arm."""
    _, batch = next(arm._batches())
    batch = batch.to(device)
    arm.training_step.start_epoch()
    arm._step(1, batch)  # with attribution
    arm._step(2, batch)
    hooks, plain, traced, looks = arm.net_g.quantizer._forward_hooks, [], [], []
    kept = dict(hooks)
    for number in range(samples):
        hooks.clear()
        plain.append(timed(lambda: arm.training_step(batch), device))
        hooks.update(kept)
        traced.append(timed(lambda number=number: arm._step(3 + number, batch), device))
        looks.append(arm._recorder._tracing[-1])
    step, whole, look = map(statistics.median, (plain, traced, looks))
    print(
        f"{strategy:<16} plain {1000 * step:9.1f} ms  traced {1000 * whole:9.1f} ms  ratio {whole / step:.4f}  "
        f"look {1000 * look:6.2f} ms  look / plain {look / step:.4f}"
    )


def timed(work, device):
    """Return the seconds that some work takes, the device's included."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    begun = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
