"""One of two processes that train a codebook together; `test_distributed` starts it."""

import sys

import torch
from torch import distributed

from vqcheck.synthesizer import EuclideanCodebook


def main(rank, store, order, output):
    """Run three updates on this rank's own frames, from an empty codebook, and save the buffers after each."""
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    torch.manual_seed(100 + rank)
    codebook = EuclideanCodebook(8, 32, kmeans_iters=3, dead_code_expiry=order).train()
    history = []
    for _ in range(3):
        frames = torch.randn(1, 8, 20)
        codebook(frames)
        history.append({"frames": frames, **{name: tensor.clone() for name, tensor in codebook.state_dict().items()}})
    torch.save(history, f"{output}.{rank}")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
