"""Torch's global settings during a replay: upstream's for the step, and whatever they were before for everyone else."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def upstream_settings(device: torch.device, threads: int | None) -> Iterator[None]:
    """Allow TF32 as upstream does, and restore that, the number of threads and every random state afterwards.

    `threads` is the number of CPU threads; None leaves it.
    """
    precision, cudnn_tf32 = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    before = torch.get_num_threads()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.backends.cudnn.allow_tf32 = True
        torch.set_float32_matmul_precision("medium")
        if threads:
            torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(precision)
            torch.backends.cudnn.allow_tf32 = cudnn_tf32
            torch.set_num_threads(before)
