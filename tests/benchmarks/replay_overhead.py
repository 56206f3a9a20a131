"""What the tracing adds to a training step, side by side with the same step without it.

Traced and plain steps take turns on one model and batch. The tracing's own time is also measured by itself, which is
steadier than the difference of two whole steps: the share that a user pays (the target is at most 0.5 % on CUDA).

On an H200 (v2, B=2, torch 2.11) a step that leaves the VQ encoder alone costs 0.52 ms, 0.28 % of a plain step: one
comparison of all tensors and one read; 4.7 ms were spent where every figure was computed at every step.  One that moves
the codebook, as a control arm's does, costs 2.0 ms, 1.4 %: the distances of three tensors from the start, new copies of
them, and the tokens of the probe have to be computed, on a host that issues an operator in some 30 us.
"""

import statistics
import time

from results import SECONDS, Figure, Measured
from run import Run, isolated


def measure(run: Run):
    version = "tiny" if run.quick else "v2"
    figures = []
    for strategy in ("maybe-no-grad", "requires-grad"):
        run.stage(f"steps of {version} with {strategy}")
        figures.append(isolated(traced_steps, version, strategy, run.step_samples, run.device))
    return figures


def traced_steps(version, strategy, samples, device_name):
    """Return the figure of one arm."""
    from vqcheck.experiment.config import Config
    from vqcheck.replay.arm_run import ArmRun
    from vqcheck.replay.own_subject import OwnSubject
    from vqcheck.replay.strategies import STRATEGIES

    config = Config().changed("subject", version=version).changed("training", batch_size=2)
    subject, chosen = OwnSubject(config.changed("replay", device=device_name)), STRATEGIES[strategy]
    plain, traced, looks = [], [], []
    with subject.opened(None):
        device = subject.device
        arm = ArmRun(subject.start(chosen), chosen, chosen.expected, samples)
        step, inputs = arm.code.training.training_step, next(subject.data.batches())[1].inputs()
        inputs = {name: value.to(device) for name, value in inputs.items()}
        arm.step()  # with attribution
        arm.step()
        hooks = arm.code.net_g.quantizer._forward_hooks
        kept = dict(hooks)
        for _ in range(samples):
            hooks.clear()
            plain.append(timed(lambda: step(inputs), device))
            hooks.update(kept)
            traced.append(timed(arm.step, device))
            looks.append(arm._recorder._tracing[-1])
    share = statistics.median(looks) / statistics.median(plain)
    rival = Measured("the step without tracing", tuple(plain))
    note = f"the tracing by itself: {1000 * statistics.median(looks):.2f} ms, {share:.2%} of a plain step"
    name = f"traced {version} step, {strategy}, {device.type}"
    return Figure("replay", name, SECONDS, Measured("traced", tuple(traced)), (rival,), rival, note)


def timed(work, device):
    """Return the seconds that some work takes, the device's included."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    begun = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begun
