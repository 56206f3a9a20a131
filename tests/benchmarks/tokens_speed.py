"""How many frames a second the token audit checks, against upstream's extraction of the same recordings.

Both begin with the files in 4-cnhubert. Upstream (3-get-semantic) takes one recording at a time, in torch and float32,
with its quantizer's equations; the audit derives every token in float32 and in half precision and judges it. They take
turns in processes of their own, so that a busy machine slows both. A frame takes 3.9 million operations; the floor is
torch's matrix products alone, in one batch. As whole processes, of which upstream's imports torch, both are measured
for few recordings, too.

Run as a program, this file is one of those processes: `tokens_speed.py SIDE FOLDER [once]`.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

CODEBOOK = "quantizer.vq.layers.0._codebook"
DIM, CODES = 768, 1024
MERGED = "6-name2semantic.tsv"
THREADS = 2


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
    from vqcheck.audit.token_audit import audit_tokens
    from vqcheck.checkpoint.open import open_checkpoint

    def check():
        with open_checkpoint(folder / "base.pth") as checkpoint:
            return audit_tokens(checkpoint, str(folder))

    return check


def products(folder):
    """Return a function that does the two matrix products of every frame, and nothing else."""
    import torch

    state = torch.load(folder / "base.pth")["weight"]
    weight, embed = state["ssl_proj.weight"].reshape(DIM, -1).t(), state[f"{CODEBOOK}.embed"].t()
    frames = len((folder / MERGED).read_text().split()) - 2 - len(list((folder / "4-cnhubert").iterdir()))
    x = torch.randn(frames, 2 * DIM)
    return lambda: (x @ weight) @ embed


def work(side, folder, *, once=False):
    """Run one side, and again whenever a line comes in, then answering with its seconds."""
    run = {"upstream": upstream, "audit": audit, "products": products}[side](folder)
    run()
    if once:
        return
    for _ in sys.stdin:
        started = time.perf_counter()
        run()
        print(time.perf_counter() - started, flush=True)


def prepare(folder, items):
    """Make recordings and the tokens that upstream derives of them; return (frames, those that the audit rejects)."""
    folder.mkdir()
    make(folder, items)
    lines = [f"{item}\t{' '.join(map(str, ids))}" for item, ids in upstream(folder)().items()]
    (folder / MERGED).write_text("\n".join(["item_name\tsemantic_audio", *lines, ""]))
    total = audit(folder)().total
    return total.frames, total.frames - total.explained


def whole_processes(run, sizes):
    """Return the figures of `vqcheck tokens` against a script that extracts, for few and for many recordings."""
    from processes import Command, interleave, python, time_and_memory, vqcheck
    from run import isolated

    figures = []
    for items in sizes:
        folder = run.folder / f"tokens-{items}"
        frames, _ = isolated(prepare, folder, items)
        floor = "import numpy"
        costs = interleave(
            {
                "vqcheck tokens": Command(vqcheck("tokens", folder / "base.pth", folder, "-q")),
                "extraction": Command([sys.executable, __file__, "upstream", str(folder), "once"]),
                floor: Command(python("import click, dataclasses, hashlib, numpy")),
            },
            run.samples,
            run.stage,
        )
        name = f"tokens of {items} recordings"
        note = f"{frames} frames; whole processes"
        figures += time_and_memory(
            "tokens", name, costs, "vqcheck tokens", rivals=("extraction",), floor=floor, note=note
        )
    return figures


def measure(run):
    from results import PER_SECOND, Figure, Measured
    from run import isolated

    folder = run.folder / "tokens"
    run.stage("making recordings")
    frames, unexplained = isolated(prepare, folder, 4 if run.quick else 60)
    environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(THREADS))
    workers = {
        side: subprocess.Popen(
            [sys.executable, __file__, side, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for side in ("audit", "upstream", "products")
    }
    speed = {side: [] for side in workers}
    for sample in range(run.samples):
        for side, worker in workers.items():
            run.stage(f"{side}, sample {sample + 1} of {run.samples}")
            worker.stdin.write("\n")
            worker.stdin.flush()
            speed[side].append(frames / float(worker.stdout.readline()))
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()
        worker.stdout.close()
    ours, rival, floor = (Measured(side, tuple(values)) for side, values in speed.items())
    note = f"{frames} frames, {THREADS} threads; {unexplained} tokens are not upstream's; the audit derives each twice"
    figures = [Figure("tokens", "token audit", PER_SECOND, ours, (rival,), floor, note)]
    return figures + whole_processes(run, (1,) if run.quick else (1, 10, 100))


if __name__ == "__main__":
    work(sys.argv[1], Path(sys.argv[2]), once=sys.argv[3:] == ["once"])
