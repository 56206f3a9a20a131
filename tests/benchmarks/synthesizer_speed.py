"""The shipped synthesizer's training step against a plain formulation, in a process of its own."""

from run import Run, isolated


def measure(run: Run):
    preset = "tiny" if run.quick else "v2"
    run.stage(f"steps of {preset} in three formulations")
    return [isolated(steps, preset, run.step_samples)]


def steps(preset, samples):
    from synthesizer_step import steps as run_steps

    return run_steps(preset, samples)
