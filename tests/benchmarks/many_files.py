"""`vqcheck diff BASE FILE...` and `lock --check FILE...` over many files, against a shell loop over one file each."""

import shlex
import shutil

from checkpoints import book, generator, projection, running_sums, save
from processes import Command, interleave, vqcheck
from results import FILES_PER_SECOND, Figure, Measured
from run import Run, isolated


def make(folder, codes, dim, count):
    """Write a base and equal files beside it, each with the VQ encoder of GPT-SoVITS and nothing else."""
    random = generator(1)
    save(projection(random, dim) | book(*running_sums(random, codes, dim)), folder / "many-base")
    for number in range(count):
        shutil.copy(folder / "many-base.pth", folder / f"many-{number}.pth")


def measure(run: Run):
    count = 5 if run.quick else 40
    isolated(make, run.folder, *((16, 8) if run.quick else (1024, 768)), count)
    base, lock = run.folder / "many-base.pth", run.folder / "many.lock"
    files = [run.folder / f"many-{number}.pth" for number in range(count)]
    diff, check = vqcheck("diff", base), vqcheck("lock", "--check", "-o", lock)
    costs = interleave(
        {
            "made": Command(vqcheck("lock", base, "-o", lock, "--update")),
            "diff": Command([*diff, *map(str, files)]),
            "diff, a shell loop": Command(loop(diff, files)),
            "lock --check": Command([*check, *map(str, files)]),
            "lock --check, a shell loop": Command(loop(check, files)),
        },
        run.samples,
        run.stage,
    )

    def rate(name):
        return Measured(name, tuple(count / seconds for seconds in costs[name].seconds.samples))

    return [
        Figure("many", f"{name}, {count} files", FILES_PER_SECOND, rate(name), (rate(f"{name}, a shell loop"),))
        for name in ("diff", "lock --check")
    ]


def loop(command, files):
    """Return a shell's loop over files, which ends at the first that fails."""
    return ["sh", "-c", f'for each; do {shlex.join(command)} "$each" || exit; done', "loop", *map(str, files)]
