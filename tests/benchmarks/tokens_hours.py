"""What the audit of 1,000 hours of speech takes, in time and memory: measured on two smaller parts of it.

Their recordings are links to a few files, so that they take no disk. What the second part takes more than the first is
what its further items take, each with its tokens, counts and rows of the report; the rest is the same for every length.
"""

import os

import tokens_speed
from processes import Launcher, vqcheck
from results import MIB, SECONDS, Figure, Measured
from run import Run, isolated

FRAMES_OF_1000_HOURS = 90_000_000
FACTOR = 4


def lengthened(folder, source, items):
    """Make an experiment of that many recordings, which are those of another one again and again."""
    (folder / "4-cnhubert").mkdir(parents=True)
    header, *rows = (source / tokens_speed.MERGED).read_text().splitlines()
    lines, frames = [header], 0
    for number in range(items):
        item, _, tokens = rows[number % len(rows)].partition("\t")
        os.link(source / "4-cnhubert" / f"{item}.pt", folder / "4-cnhubert" / f"{number:07}.wav.pt")
        lines.append(f"{number:07}.wav\t{tokens}")
        frames += tokens.count(" ") + 1
    (folder / tokens_speed.MERGED).write_text("\n".join([*lines, ""]))
    return frames


def measure(run: Run):
    source = run.folder / "tokens-source"
    run.stage("making recordings")
    isolated(tokens_speed.prepare, source, 4 if run.quick else 40)
    sizes = [each * (20 if run.quick else 500) for each in (1, FACTOR)]
    frames = [lengthened(run.folder / f"tokens-{size}", source, size) for size in sizes]
    seconds, memory = [], []
    with Launcher() as launched:
        for sample in range(min(run.samples, 3)):
            found = []
            for size in sizes:
                run.stage(f"{size} recordings, sample {sample + 1}")
                folder = run.folder / f"tokens-{size}"
                found.append(launched.run(vqcheck("tokens", source / "base.pth", folder, "-q")))
                if found[-1].status:
                    raise SystemExit(f"ended with status {found[-1].status}\n{found[-1].stderr[-2000:]}")
            small, large = found
            share = FRAMES_OF_1000_HOURS / (frames[1] - frames[0])
            seconds.append(small.seconds + share * (large.seconds - small.seconds))
            memory.append(small.peak_mib + share * (large.peak_mib - small.peak_mib))
    note = f"from {frames[0]} and {frames[1]} frames in {sizes[0]} and {sizes[1]} recordings"
    return [
        Figure("tokens-hours", "1,000 hours, by two parts", unit, Measured("vqcheck tokens", tuple(values)), note=note)
        for unit, values in ((SECONDS, seconds), (MIB, memory))
    ]
