"""How long the replay takes that `vqcheck replay` runs without a configuration, and where its time goes.

The command is measured whole, in processes of its own, against one that only imports torch; the phases in one process
that goes through the same parts.

On an H200 (torch 2.11) it takes 11.0 s, 23 to 28 s before on an H100: 1.1 s are torch's import, 1.9 s the five steps
in which every operator is watched, 6.5 s the other 85 of 76 ms.  Gone are torch's compiler and sympy, which optimizers,
dispatch modes and networks on the meta device import, a second build of the networks, and the search for the watched
tensors at every operator.  `--quick` has the same fixed parts, so that it cannot come near the share of its steps.
"""

import sys
import time
from itertools import pairwise

from processes import Command, interleave
from results import SECONDS, Figure
from run import Run, isolated


def measure(run: Run):
    samples = min(3, run.step_samples)
    command = [sys.executable, "-m", "vqcheck", "replay", "--quiet", "--device", run.device]
    commands = {
        "import torch": Command([sys.executable, "-c", "import torch"]),
        "vqcheck replay": Command(command),
        "vqcheck replay --quick": Command([*command, "--quick"]),
    }
    floor, whole, quick = (each.seconds for each in interleave(commands, samples, run.stage).values())
    run.stage("the phases of a replay")
    note = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in isolated(phases, run.device).items())
    return [
        Figure("replay-time", f"vqcheck replay, {run.device}", SECONDS, whole, (), floor, note),
        Figure("replay-time", f"vqcheck replay --quick, {run.device}", SECONDS, quick, (whole,), floor),
    ]


def phases(device_name):
    """Return name -> seconds of the parts of a default replay, in the order in which they come."""
    marks = [("", time.perf_counter())]

    def mark(name):
        marks.append((name, time.perf_counter()))

    import torch

    mark("import torch")
    from vqcheck.experiment.config import Config
    from vqcheck.replay.arm_run import ArmRun
    from vqcheck.replay.own_subject import OwnSubject
    from vqcheck.replay.strategies import chosen_strategies

    mark("import vqcheck")
    config = Config().changed("replay", device=device_name)
    subject = OwnSubject(config)
    if device_name != "cpu" and torch.cuda.is_available():
        torch.zeros(1, device="cuda").item()
        mark("start of CUDA")
    with subject.opened(None):
        mark("networks and data")
        for strategy in chosen_strategies(config):
            arm = ArmRun(subject.start(strategy), strategy, strategy.expected, config.replay.steps)
            mark("start of an arm")
            for _ in range(config.replay.steps):
                traces = arm._traces_next
                arm.step()
                mark("steps with attribution" if traces else "other steps")
            arm.finish(complete=True)
            mark("end of an arm")
    seconds = {}
    for (_, before), (name, after) in pairwise(marks):
        seconds[name] = seconds.get(name, 0.0) + after - before
    return seconds
