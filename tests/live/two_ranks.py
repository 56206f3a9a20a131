"""One of two data-parallel processes under a guard; `test_ranks` starts it, and reads what it saw from a file."""

import json
import sys
import warnings

import torch
from torch import distributed, nn

import vqcheck
from vqcheck.errors import CodebookChanged
from vqcheck.live.ranks import differing
from vqcheck.synthesizer.quantizer import ResidualVectorQuantizer

NAMES = ["codes", "more"]


def main(rank, store, scenario, output):
    """Make four steps; on rank 1 alone the codebook is written in step 3, or was another one from the start."""
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    torch.manual_seed(0)
    model = nn.Module()
    model.ssl_proj = nn.Conv1d(4, 4, 1)
    model.quantizer = ResidualVectorQuantizer(4, bins=8)
    book = model.quantizer.codebooks()[0]
    book.initialise(torch.randn(40, 4))
    if scenario == "other from the start" and rank == 1:
        book.embed[2, 0] += 1e-6
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        others = {ranks: vqcheck.monitor(model, ranks=ranks).read().other_ranks for ranks in ("compare", "own")}
        alone = vqcheck.guard(model, ranks="own")
        alone.check()
    monitor = {"others": others, "warned": [str(each.message) for each in warned]}
    seen = {
        "error": None,
        "differing": differing({"codes": book.embed, **({} if rank else {"more": book.embed})}, NAMES),
        "monitor": monitor,
    }
    guard = vqcheck.guard(model, every=2)
    try:
        for step in range(1, 7):
            if scenario == "written on one rank" and rank == 1 and step >= 3:
                book.embed.data[5].add_(1)
            guard.step()
        guard.check()
    except CodebookChanged as error:
        change = error.finding.changes[0]
        seen = {
            **seen,
            "error": str(error),
            "after": guard.steps,
            "step": change.step,
            "ranks": change.ranks,
            "rows": change.rows_changed,
            "written": change.write is not None,
            "tensors": len(error.finding.changes),
        }
    with open(f"{output}.{rank}", "w", encoding="utf-8") as file:
        json.dump(seen, file)
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
