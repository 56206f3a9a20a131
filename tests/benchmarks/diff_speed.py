"""How fast `vqcheck diff` is, as whole processes, against the script everybody writes.

Run `python tests/benchmarks/diff_speed.py [--samples 11] [--folder DIR] [--json FILE]` (POSIX; 2 GB of disk). It makes
two pairs of checkpoints with equal VQ encoders, 830 MB and 83 MB each file, and prints medians and ratios.
"""

import argparse
import json
import multiprocessing
import sys
import tempfile
from pathlib import Path

from processes import interleave

CODEBOOK = "quantizer.vq.layers.0._codebook"
EVERYBODYS_SCRIPT = """
import sys, torch
a, b = (torch.load(path, map_location="cpu", mmap={mmap})["model"] for path in sys.argv[1:])
names = [name for name in a if name.startswith(("quantizer.", "ssl_proj."))]
print(all(torch.equal(a[name], b[name]) for name in names))
"""


def make(path: Path, megabytes: int, seed: int) -> None:
    """Write a float32 training checkpoint with 776 tensors and the full-size VQ encoder."""
    import torch

    generator = torch.Generator().manual_seed(1)
    count = 20 + 10 * torch.rand(1024, generator=generator)
    embed = 0.4 * torch.randn(1024, 768, generator=generator)
    vq_encoder = {
        "ssl_proj.weight": 0.02 * torch.randn(768, 768, 2, generator=generator),
        "ssl_proj.bias": 0.02 * torch.randn(768, generator=generator),
        f"{CODEBOOK}.inited": torch.ones(1),
        f"{CODEBOOK}.cluster_size": count,
        f"{CODEBOOK}.embed": embed,
        f"{CODEBOOK}.embed_avg": embed * count[:, None],
    }
    own = sum(tensor.numel() for tensor in vq_encoder.values())
    each = (megabytes * 1_000_000 // 4 - own) // 770
    generator.manual_seed(seed)
    rest = {f"enc_p.layer.{i}.weight": torch.randn(each, generator=generator) for i in range(770)}
    torch.save({"model": rest | vq_encoder, "iteration": 8, "learning_rate": 1e-4, "optimizer": {}}, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=11)
    parser.add_argument("--folder", type=Path, help="keep the files here and use them again")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        for megabytes in (830, 83):
            for seed, letter in enumerate("ab"):
                path = folder / f"{letter}{megabytes}.pth"
                if not path.exists():
                    # In a process of its own: a child's peak memory begins at that of the process it was forked from.
                    maker = multiprocessing.get_context("spawn").Process(target=make, args=(path, megabytes, seed))
                    maker.start()
                    maker.join()
        figures = measure(folder, options.samples)
    for name, value in figures.items():
        print(f"{name:<44} {value:10.3f}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def measure(folder: Path, samples: int) -> dict[str, float]:
    big, small = ([str(folder / f"{letter}{megabytes}.pth") for letter in "ab"] for megabytes in (830, 83))
    scripts = {name: EVERYBODYS_SCRIPT.format(mmap=name == "mmap") for name in ("load", "mmap")}
    costs = interleave(
        {
            "python -c pass": [sys.executable, "-c", "pass"],
            "vqcheck 830 MB": [sys.executable, "-m", "vqcheck", "diff", *big],
            "vqcheck 83 MB": [sys.executable, "-m", "vqcheck", "diff", *small],
            "torch.load 830 MB": [sys.executable, "-c", scripts["load"], *big],
            "torch.load(mmap=True) 830 MB": [sys.executable, "-c", scripts["mmap"], *big],
        },
        samples,
    )
    figures: dict[str, float] = {}
    for name, cost in costs.items():
        figures[f"{name}: seconds"] = cost.seconds
        figures[f"{name}: peak MiB"] = cost.peak_mib
    ours = costs["vqcheck 830 MB"]
    for rival in ("torch.load 830 MB", "torch.load(mmap=True) 830 MB"):
        figures[f"{rival}: times slower"] = costs[rival].seconds / ours.seconds
        figures[f"{rival}: times more memory"] = costs[rival].peak_mib / ours.peak_mib
    figures["vqcheck 830 MB / 83 MB"] = ours.seconds / costs["vqcheck 83 MB"].seconds
    figures["vqcheck 830 MB / python -c pass"] = ours.seconds / costs["python -c pass"].seconds
    return figures


if __name__ == "__main__":
    main()
