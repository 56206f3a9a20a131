"""One of several processes that compare their tensors; `test_ranks` starts it."""

import sys

import torch
from torch import distributed

from vqcheck.replay.surroundings import differing, process_group


def main(output):
    """Compare equal tensors, then ones of which the last rank changed a single bit, and save both answers."""
    with process_group(torch.device("cpu")):
        tensors = {"codes": torch.arange(6.0).view(2, 3), "ema_count": torch.ones(3), "init_flag": torch.ones(1)}
        same = differing(tensors)
        if distributed.get_rank() == distributed.get_world_size() - 1:
            tensors["ema_count"].view(torch.int32)[1] += 1
        torch.save((same, differing(tensors)), f"{output}.{distributed.get_rank()}")


if __name__ == "__main__":
    main(sys.argv[1])
