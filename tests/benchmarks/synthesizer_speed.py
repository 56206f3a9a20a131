"""Training steps of the shipped synthesizers, our own and in a loop after upstream's, in a process of its own."""

from run import Run, isolated


def measure(run: Run):
    preset = "tiny" if run.quick else "v2"
    figures = []
    for device, batch, frames, fp16 in isolated(sizes, run.device):
        run.stage(f"steps of {preset} on {device}, {batch} x {frames} frames")
        figures.append(isolated(steps, preset, run.step_samples, device, batch, frames, fp16))
    return figures


def measure_flow(run: Run):
    preset = "tiny-v3" if run.quick else "v3"
    figures = []
    for device, batch, frames, fp16, changes in isolated(flow_sizes, run.device, run.quick):
        for rank in (None, 32):
            run.stage(f"steps of {preset} on {device}, {batch} x {frames} frames")
            arguments = (preset, run.step_samples, device, batch, frames, fp16, rank, changes)
            figures += isolated(flow_steps, *arguments)
    return figures


def flow_sizes(device, quick):
    """Return what `sizes` does and changes of the model's sizes: on a CPU the decoder has its width, but two blocks."""
    import torch

    if device == "cpu" or not torch.cuda.is_available():
        return [("cpu", 2, 64, False, {} if quick else {"dit_depth": 2})]
    return [("cuda", 4, 300, fp16, {}) for fp16 in (True, False)]


def sizes(device):
    """Return (device, batch, frames, half precision) of what is measured: small on a CPU, as in training on CUDA."""
    import torch

    if device == "cpu" or not torch.cuda.is_available():
        return [("cpu", 2, 64, False)]
    return [("cuda", batch, frames, fp16) for batch, frames in ((8, 300), (32, 400)) for fp16 in (True, False)]


def steps(*arguments):
    from synthesizer_step import steps as run_steps

    return run_steps(*arguments)


def flow_steps(*arguments):
    from flow_step import flow_steps as run_steps

    return run_steps(*arguments)
