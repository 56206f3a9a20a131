"""`vqcheck diff` of two equal VQ encoders in large files, against the script everybody writes and the public tools.

Each tool gets the format it supports, and is told where it can be to look at the codebook alone. What they answer is
another question: see answers.py.

Aim: 25 times faster than torch.load. Of an equal pair's processor time (142 ms, where Python's start takes 9, and with
reading and hashing once 23) these steps took off: not unpickling the second of two equal indexes, nor searching its
names again, 14 ms; no search for garbage while it starts, nor before it ends, 12 ms; data classes that are defined
without the standard library's generated methods, 20 to 30 ms. Left alone: click, whose import takes some
8 ms, and the first index. An index could not be taken over by the archives' directories: no two files have the same,
since a directory holds the checksums of all tensors.
"""

from checkpoints import trained_pair
from processes import Command, interleave, program, python, time_and_memory, vqcheck
from run import Run, isolated

EVERYBODYS_SCRIPT = """
import sys, torch
a, b = (torch.load(path, map_location="cpu", mmap={mmap})["model"] for path in sys.argv[1:])
names = [name for name in a if name.startswith(("quantizer.", "ssl_proj."))]
print(all(torch.equal(a[name], b[name]) for name in names))
"""
SAFETENSORS_SCRIPT = """
import sys, numpy
from safetensors import safe_open
a, b = (safe_open(path, framework="np") for path in sys.argv[1:])
names = [name for name in a.keys() if name.startswith(("quantizer.", "ssl_proj."))]
print(all(numpy.array_equal(a.get_tensor(name), b.get_tensor(name)) for name in names))
"""
READ_ONCE = """
import hashlib, os, sys
size, left, piece = int(sys.argv[3]), int(sys.argv[3]), 1 << 18
files, digest = [os.open(path, os.O_RDONLY) for path in sys.argv[1:3]], hashlib.sha256()
while left > 0:
    a, b = (os.pread(file, min(piece, left), size - left) for file in files)
    digest.update(a)
    a == b
    left -= len(a)
"""
"""Reads as many bytes of each file as the VQ encoder has, compares them and hashes those of one."""

VQ_ENCODER_BYTES = 4 * (768 * 768 * 2 + 768 + 2 * 1024 * 768 + 1024 + 1)


def measure(run: Run):
    megabytes = 20 if run.quick else 830
    run.stage(f"making checkpoints of {megabytes} MB")
    if not (run.folder / "c.pth").exists():
        isolated(trained_pair, run.folder, megabytes)
    pth, bare = ([run.folder / f"{letter}.{ending}" for letter in "ab"] for ending in ("pth", "safetensors"))
    loaded, mapped = EVERYBODYS_SCRIPT.format(mmap=False), EVERYBODYS_SCRIPT.format(mmap=True)
    commands = {
        "read and hash once": Command(python(READ_ONCE, *pth, VQ_ENCODER_BYTES)),
        "vqcheck diff": Command(vqcheck("diff", *pth)),
        "torch.load": Command(python(loaded, *pth)),
        "torch.load(mmap=True)": Command(python(mapped, *pth)),
        "vqcheck diff .safetensors": Command(vqcheck("diff", *bare)),
        "safe_open, numpy": Command(python(SAFETENSORS_SCRIPT, *bare)),
    }
    rivals = {"pth": ["torch.load", "torch.load(mmap=True)"], "safetensors": ["safe_open, numpy"]}
    if ckptkit := program("ckptkit"):
        commands["ckptkit diff"] = Command([*ckptkit, "diff", *map(str, pth)])
        commands["ckptkit diff .safetensors"] = Command([*ckptkit, "diff", *map(str, bare)])
        rivals["pth"].append("ckptkit diff")
        rivals["safetensors"].append("ckptkit diff .safetensors")
    if sft := program("sft"):
        only = ["--delta", "--include", "quantizer.**"]
        commands["sft diff --delta"] = Command([*sft, "diff", *map(str, bare), *only])
        rivals["safetensors"].append("sft diff --delta")
    costs = interleave(commands, run.samples, run.stage)
    floor = "read and hash once"
    return [
        *time_and_memory(
            "diff", f"{megabytes} MB .pth", costs, "vqcheck diff", rivals=tuple(rivals["pth"]), floor=floor
        ),
        *time_and_memory(
            "diff",
            f"{megabytes} MB .safetensors",
            costs,
            "vqcheck diff .safetensors",
            rivals=tuple(rivals["safetensors"]),
            floor=floor,
            note="ckptkit reads the headers only, and compares no value",
        ),
    ]
