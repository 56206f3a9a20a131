"""How long a changed pair takes against an equal one, as whole processes: at most 3 times as long plus 0.5 s.

Run `python tests/benchmarks/diagnosis_time.py [--samples 11] [--megabytes 830] [--folder DIR]` (3 GB of disk). The
changed file went through 37 EMA updates of the full-size codebook; `--features` is timed on 100 recordings.
"""

import argparse
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CODEBOOK = "quantizer.vq.layers.0._codebook"


def make(folder: Path, megabytes: int) -> None:
    """Write `a.pth`, its equal `b.pth`, the drifted `c.pth`, and features."""
    import torch

    generator = torch.Generator().manual_seed(1)
    count = 20 + 10 * torch.rand(1024, generator=generator)
    total = 0.4 * torch.randn(1024, 768, generator=generator) * count[:, None]
    projection = {
        "ssl_proj.weight": 0.02 * torch.randn(768, 768, 2, generator=generator),
        "ssl_proj.bias": 0.02 * torch.randn(768, generator=generator),
    }
    each = (megabytes * 1_000_000 // 4 - 2_800_000) // 770
    drifted_count, drifted_total = count.clone(), total.clone()
    for _ in range(37):
        picked = torch.randint(1, 1024, (2000,), generator=generator)
        frames = total[picked] / count[picked, None] + 0.1 * torch.randn(2000, 768, generator=generator)
        drifted_count = 0.99 * drifted_count + 0.01 * torch.bincount(picked, minlength=1024)
        drifted_total = 0.99 * drifted_total + 0.01 * torch.zeros(1024, 768).index_add_(0, picked, frames)
    for name, seed, c, s in (
        ("a", 2, count, total),
        ("b", 3, count, total),
        ("c", 3, drifted_count, drifted_total),
    ):
        smoothed = (c + 1e-5) / (c.sum() + 1024e-5) * c.sum()
        book = {"inited": torch.ones(1), "cluster_size": c, "embed": s / smoothed[:, None], "embed_avg": s}
        generator.manual_seed(seed)
        rest = {f"enc_p.layer.{i}.weight": torch.randn(each, generator=generator) for i in range(770)}
        state = rest | projection | {f"{CODEBOOK}.{part}": value for part, value in book.items()}
        torch.save({"model": state, "iteration": 8, "learning_rate": 1e-4, "optimizer": {}}, folder / f"{name}.pth")
    (folder / "4-cnhubert").mkdir()
    for item in range(100):
        values = torch.randn(1, 250, 768, generator=generator).transpose(1, 2).half()
        torch.save(values, folder / "4-cnhubert" / f"{item:03}.wav.pt")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=11)
    parser.add_argument("--megabytes", type=int, default=830)
    parser.add_argument("--folder", type=Path, help="keep the files here and use them again")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "4-cnhubert").exists():
            maker = multiprocessing.get_context("spawn").Process(target=make, args=(folder, options.megabytes))
            maker.start()
            maker.join()
        seconds = measure(folder, options.samples)
    for name, value in seconds.items():
        print(f"{name:<24} {value:7.3f} s")
    equal, changed = seconds["equal"], seconds["changed"]
    print(f"{'changed / equal':<24} {changed / equal:7.2f}")
    print(f"{'left of 3 x equal + 0.5':<24} {3 * equal + 0.5 - changed:7.3f} s")


def measure(folder: Path, samples: int) -> dict[str, float]:
    """Return the median wall time of each command; they are run in turn, and the first round only warms the cache."""
    diff = [sys.executable, "-m", "vqcheck", "diff", str(folder / "a.pth")]
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "import numpy": [sys.executable, "-c", "import numpy"],
        "equal": [*diff, str(folder / "b.pth")],
        "changed": [*diff, str(folder / "c.pth")],
        "changed, --features": [*diff, str(folder / "c.pth"), "--features", str(folder / "4-cnhubert")],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for sample in range(samples + 1):
        for name, command in commands.items():
            start = time.perf_counter()
            status = subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode
            if sample:
                seconds[name].append(time.perf_counter() - start)
            if status != int(name.startswith("changed")):
                raise SystemExit(f"{name}: ended with status {status}")
    return {name: statistics.median(values) for name, values in seconds.items()}


if __name__ == "__main__":
    main()
