"""How many frames a second the token audit checks, against upstream's extraction of the same recordings.

Run `python tests/benchmarks/tokens_speed.py [--samples 11] [--items 60] [--threads 2]` by hand. Both begin with the
files in 4-cnhubert. Upstream (3-get-semantic) takes one recording at a time, in torch and float32, with its quantizer's
equations; the audit derives every token in float32 and in half precision and judges it. They take turns in processes of
their own, so that a busy machine slows both; what counts is the ratio of the medians.

A frame takes 3.9 million operations, and on a quiet machine both sides spend most of their time in matrix products near
the processor's peak: the two products alone allow 26,000 frames a second on the x86 core with AVX-512 where upstream
reached 14,000 to 17,000 and the audit 14,000 to 16,000, a ratio of 0.9 to 1.0. With other work on both cores upstream
fell to 700 and the audit to 3,200.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CODEBOOK = "quantizer.vq.layers.0._codebook"
DIM, CODES = 768, 1024
MERGED = "6-name2semantic.tsv"


def make(folder, items):
    """Write a full-size VQ encoder, whose codes are projected frames of the data, and recordings of 2 to 10 s."""
    import torch

    generator = torch.Generator().manual_seed(0)
    weight = (torch.randn(DIM, DIM, 2, generator=generator) / (2 * DIM) ** 0.5 * 4).half().float()
    bias = torch.randn(DIM, generator=generator).half().float()
    (folder / "4-cnhubert").mkdir()
    places = torch.randn(CODES, 1, 2 * DIM, generator=generator)
    for number in range(items):
        tokens = int(torch.randint(50, 250, (1,), generator=generator))
        near = places[torch.randint(0, CODES, (tokens,), generator=generator), 0]
        frames = (near + torch.randn(tokens, 2 * DIM, generator=generator)).view(1, 2 * tokens, DIM) / 2**0.5
        features = frames.half().requires_grad_().transpose(1, 2)
        torch.save(features, folder / "4-cnhubert" / f"{number:03}.wav.pt")
    codes = torch.nn.functional.conv1d(places.view(CODES, 2, DIM).transpose(1, 2) / 2**0.5, weight, bias, stride=2)[
        :, :, 0
    ]
    codes = codes.half().float()
    count = torch.full((CODES,), 30.0)
    state = {
        "ssl_proj.weight": weight,
        "ssl_proj.bias": bias,
        f"{CODEBOOK}.inited": torch.ones(1),
        f"{CODEBOOK}.cluster_size": count,
        f"{CODEBOOK}.embed": codes,
        f"{CODEBOOK}.embed_avg": codes * count[:, None],
    }
    torch.save({"weight": state}, folder / "base.pth")


def upstream(folder):
    """Return item -> tokens as upstream extracts them: one recording at a time, in float32."""
    import torch
    from torch.nn import functional

    state = torch.load(folder / "base.pth")["weight"]
    projection = torch.nn.Conv1d(DIM, DIM, 2, 2).eval()
    projection.load_state_dict({"weight": state["ssl_proj.weight"], "bias": state["ssl_proj.bias"]})
    embed = state[f"{CODEBOOK}.embed"]

    def extract():
        found = {}
        for path in sorted((folder / "4-cnhubert").iterdir()):
            ssl = torch.load(path, map_location="cpu").float()
            x = projection(ssl).transpose(1, 2).reshape(-1, DIM)
            e = embed.t()
            distance = -(x.pow(2).sum(1, keepdim=True) - 2 * x @ e + e.pow(2).sum(0, keepdim=True))
            ids = distance.max(dim=-1).indices
            functional.one_hot(ids, CODES).type(x.dtype)
            functional.embedding(ids, embed)
            found[path.stem] = ids.tolist()
        return found

    return extract


def audit(folder):
    """Return a function that audits the recordings."""
    from vqcheck.checkpoint.open import open_checkpoint
    from vqcheck.experiment.token_audit import audit_tokens

    def check():
        with open_checkpoint(folder / "base.pth") as checkpoint:
            return audit_tokens(checkpoint, str(folder))

    return check


def work(side, folder):
    """Run one side whenever a line comes in, and answer with its seconds."""
    run = {"upstream": upstream, "audit": audit}[side](folder)
    run()
    for _ in sys.stdin:
        started = time.perf_counter()
        run()
        print(time.perf_counter() - started, flush=True)


def main():
    """Print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=11)
    parser.add_argument("--items", type=int, default=60)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work[0], Path(options.work[1]))
        return
    os.environ |= {name: str(options.threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make(folder, options.items)
        tokens = upstream(folder)()
        lines = [f"{item}\t{' '.join(map(str, ids))}" for item, ids in tokens.items()]
        (folder / MERGED).write_text("\n".join(["item_name\tsemantic_audio", *lines, ""]))
        result = audit(folder)()
        workers = {
            side: subprocess.Popen(
                [sys.executable, __file__, "--work", side, str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for side in ("upstream", "audit")
        }
        seconds = {side: [] for side in workers}
        for _ in range(options.samples):
            for side, worker in workers.items():
                worker.stdin.write("\n")
                worker.stdin.flush()
                seconds[side].append(float(worker.stdout.readline()))
        for worker in workers.values():
            worker.stdin.close()
            worker.wait()
    frames = result.total.frames
    median = {side: statistics.median(values) for side, values in seconds.items()}
    figures = {
        "frames": frames,
        "tokens that are not upstream's": result.total.frames - result.total.explained,
        **{f"{side}: frames per second": frames / value for side, value in median.items()},
        "times faster": median["upstream"] / median["audit"],
    }
    for name, value in figures.items():
        print(f"{name:<34} {value:10.1f}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
