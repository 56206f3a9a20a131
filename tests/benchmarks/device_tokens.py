"""How many frames a second a device derives tokens for in real half precision, against the audit on the processor.

Both get the same recordings. `in memory` is the derivation alone, from features in pinned memory to tokens in memory;
`from files` reads 4-cnhubert as well, one recording after the other, which is most of it. Aim: 50 times the audit.

Run as a program it needs numpy and torch alone, and says for codes of two kinds whether device and emulation agree:
`python tests/benchmarks/device_tokens.py [DEVICE]`.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import tokens_speed
from tokens_speed import CODEBOOK, MERGED

KINDS = ("spread", "near-duplicates")


def near_duplicates(folder):
    """Make every other code nearly another one: half precision cannot tell the two apart, and float32 can."""
    import torch

    saved = torch.load(folder / "base.pth")
    codes = saved["weight"][f"{CODEBOOK}.embed"]
    generator = torch.Generator().manual_seed(5)
    half = len(codes) // 2
    codes[half:] = codes[:half] + 2e-3 * codes[:half].std() * torch.randn(codes[:half].shape, generator=generator)
    saved["weight"][f"{CODEBOOK}.embed_avg"] = codes * saved["weight"][f"{CODEBOOK}.cluster_size"][:, None]
    torch.save(saved, folder / "base.pth")


def experiment(folder, items, kind):
    """Make recordings, a VQ encoder and the tokens that it gives in float32; return how many frames there are."""
    folder.mkdir()
    tokens_speed.make(folder, items)
    if kind == "near-duplicates":
        near_duplicates(folder)
    tokens = tokens_speed.upstream(folder)()
    lines = [f"{item}\t{' '.join(map(str, ids))}" for item, ids in tokens.items()]
    (folder / MERGED).write_text("\n".join(["item_name\tsemantic_audio", *lines, ""]))
    return sum(map(len, tokens.values()))


def speeds(folder, frames, device, samples):
    """Return frames a second of each way, measured in turn."""
    import torch

    from vqcheck.checkpoint.open import open_checkpoint
    from vqcheck.codebook.tokenizer import read_tokenizer
    from vqcheck.experiment.features import BatchReader, FeatureFolder
    from vqcheck.experiment.name2semantic import read_name2semantic
    from vqcheck.replay.device_tokens import FRAMES, HalfOnDevice

    with open_checkpoint(folder / "base.pth") as checkpoint:
        encoder = HalfOnDevice(read_tokenizer(checkpoint), torch.device(device))
    on_gpu = device != "cpu"
    inputs = torch.randn(FRAMES if on_gpu else 256, encoder.taps * encoder.channels).half()
    inputs = inputs.pin_memory() if on_gpu else inputs
    rows, recordings = list(read_name2semantic(str(folder)).rows), FeatureFolder(str(folder))
    repeats = 32 if on_gpu else 1

    def in_memory():
        for _ in range(repeats):
            encoder.tokens(inputs).cpu()
        return repeats * len(inputs)

    def from_files():
        reader = BatchReader(recordings.read_frames, encoder.channels, encoder.taps)
        return sum(len(tokens) for _, tokens in encoder.of_rows(rows, reader))

    check = tokens_speed.audit(folder)
    ways = {"in memory": in_memory, "from files": from_files, "audit": lambda: check().total.frames}
    found = {way: [] for way in ways}
    for sample in range(samples + 1):
        for way, run in ways.items():
            begun = time.perf_counter()
            done = run()
            if sample:
                found[way].append(done / (time.perf_counter() - begun))
    assert ways["from files"]() == frames
    return found


def compared(folder, device):
    """Return what a device derives beside the emulation."""
    from vqcheck.checkpoint.open import open_checkpoint
    from vqcheck.replay.device_tokens import derive_on_device

    with open_checkpoint(folder / "base.pth") as checkpoint:
        found = derive_on_device(checkpoint, str(folder), device)
    total = found.audit.total
    return {
        "device": found.device,
        "agrees": found.agrees,
        "frames": found.frames,
        "as recorded in float32": found.as_recorded,
        "explained": total.explained,
        "near-ties": total.near_ties,
        "at most": found.audit.limit,
        "mismatches": total.mismatches,
        "arithmetic": found.audit.arithmetic,
    }


def measure(run):
    from live_overhead import best_device
    from results import PER_SECOND, Figure, Measured
    from run import isolated

    run.stage("deriving tokens on a device")
    device = isolated(best_device) if run.device == "auto" else run.device
    folder = run.folder / "device-tokens"
    frames = isolated(experiment, folder, 2 if run.quick else 60, "spread")
    found = isolated(speeds, folder, frames, device, run.samples)
    agreement = isolated(compared, folder, device)
    audit = Measured("the audit on the processor", tuple(found["audit"]))
    note = f"{agreement['device']}; the emulation {'agrees' if agreement['agrees'] else 'does not agree'}"
    return [
        Figure("device", f"half precision, {way}", PER_SECOND, Measured(way, tuple(found[way])), (audit,), None, note)
        for way in ("in memory", "from files")
    ]


def main():
    device = sys.argv[1] if len(sys.argv) > 1 else "cuda"
    with tempfile.TemporaryDirectory() as scratch:
        for kind in KINDS:
            folder = Path(scratch, kind)
            frames = experiment(folder, 60 if kind == "spread" else 12, kind)
            print(kind, json.dumps(compared(folder, device)), flush=True)
            if kind == "spread":
                found = {way: round(max(values)) for way, values in speeds(folder, frames, device, 3).items()}
    ratios = {way: round(found[way] / found["audit"], 1) for way in ("in memory", "from files")}
    print("frames a second", json.dumps(found), "against the audit", json.dumps(ratios))


if __name__ == "__main__":
    main()
