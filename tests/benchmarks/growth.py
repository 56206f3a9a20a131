"""How `vqcheck diff` grows with the size of the file, the number of codebooks and the number of tensors.

Each size is run in turn with the others, and beside torch.load(mmap=True), which reads no more than is asked for.
"""

from checkpoints import many_names, residual, sparse
from diff_speed import EVERYBODYS_SCRIPT, READ_ONCE, VQ_ENCODER_BYTES
from processes import Command, interleave, python, time_and_memory, vqcheck
from results import SECONDS, Figure
from run import Run, isolated

MAPPED = EVERYBODYS_SCRIPT.format(mmap=True)
MAPPED_BARE = MAPPED.replace('["model"]', "")


def by_size(run: Run):
    """Return figures over the size of the file; everything but the VQ encoder is a hole, and takes no disk."""
    sizes = (20, 80) if run.quick else (80, 800, 8000)
    made = {}
    for megabytes in sizes:
        run.stage(f"making a file of {megabytes} MB")
        made[f"{megabytes} MB"] = pair_of(run, f"size-{megabytes}", sparse, megabytes)
    return grown("growth-size", made, run, MAPPED, VQ_ENCODER_BYTES)


def by_codebooks(run: Run):
    """Return figures over the number of codebooks, of 1 MB each with their running sums."""
    counts = (1, 4) if run.quick else (1, 8, 32, 64)
    made = {}
    for books in counts:
        run.stage(f"making {books} codebooks")
        made[f"{books} codebooks"] = pair_of(run, f"books-{books}", residual, books)
    return grown("growth-codebooks", made, run, MAPPED_BARE, None)


def by_tensors(run: Run):
    """Return figures over the number of tensors beside the VQ encoder."""
    counts = (100, 1000) if run.quick else (100, 1000, 10_000, 50_000)
    made = {}
    for tensors in counts:
        run.stage(f"making {tensors} tensors")
        made[f"{tensors} tensors"] = pair_of(run, f"tensors-{tensors}", sparse, 0, tensors)
    figures = grown("growth-tensors", made, run, MAPPED, VQ_ENCODER_BYTES)
    return figures if run.quick else [*figures, refused(run)]


def refused(run: Run):
    """Return how long it takes to refuse a file of a million tensors, whose header is longer than is read."""
    path = run.folder / "million.safetensors"
    many_names(path, 1_000_000)
    costs = interleave(
        {
            "a million tensors": Command(vqcheck("diff", path, path), status=2),
            "import click": Command(python("import click, dataclasses, hashlib")),
        },
        run.samples,
        run.stage,
    )
    path.unlink()
    ours, floor = (cost.seconds for cost in costs.values())
    note = "refused with status 2: a header of more than 16 MiB is not read"
    return Figure("growth-tensors", "1000000 tensors, refused", SECONDS, ours, (), floor, note)


def pair_of(run: Run, name, make, *arguments):
    """Return the paths of two equal files."""
    a, b = (run.folder / f"{name}-{letter}.pth" for letter in "ab")
    isolated(make, a, *arguments)
    # Not copied: a copy would fill the holes.
    isolated(make, b, *arguments)
    return a, b


def grown(benchmark, made, run: Run, script, size):
    """Return the figures of files from the smallest to the largest, each against the smallest and against torch."""
    samples = min(run.samples, 3)
    commands = {}
    for name, pair in made.items():
        read = size or pair[0].stat().st_size
        commands[name] = Command(vqcheck("diff", *pair))
        commands[f"torch.load(mmap=True) of {name}"] = Command(python(script, *pair))
        commands[f"reading and hashing once, {name}"] = Command(python(READ_ONCE, *pair, read))
    costs = interleave(commands, samples, run.stage)
    smallest = next(iter(made))
    figures = []
    for name, pair in made.items():
        rivals = (f"torch.load(mmap=True) of {name}", *((smallest,) if name != smallest else ()))
        figures += time_and_memory(
            benchmark, name, costs, name, rivals=rivals, floor=f"reading and hashing once, {name}"
        )
        for path in pair:
            path.unlink()
    return figures
