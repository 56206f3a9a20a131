"""A factory whose codebook one rank alone writes; `test_factory_ranks` replays it under torchrun."""

from torch import distributed, nn


class Training:
    """A codebook that nothing trains, and that the last rank writes in step 2."""

    def __init__(self):
        self.module = nn.Module()
        self.module.quantize = nn.Module()
        self.module.quantize.embedding = nn.Embedding(8, 4)

    def step(self, number):
        """Look codes up, and write one bit of them on the last rank."""
        codes = self.module.quantize.embedding.weight.data
        if number == 2 and distributed.get_rank() == distributed.get_world_size() - 1:
            codes[0, 0] += 1
        return {"loss": float((codes * 1).sum())}
