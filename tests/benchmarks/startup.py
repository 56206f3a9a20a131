"""How long it takes until vqcheck begins to work, as whole processes. Aim: `--version` in 3.7 times an empty Python."""

from checkpoints import book, generator, projection, running_sums, save
from processes import Command, interleave, python, time_and_memory, vqcheck
from run import Run, isolated

TORCH_SCRIPT = """
import sys, torch
a, b = (torch.load(path, map_location="cpu")["model"] for path in sys.argv[1:])
print(all(torch.equal(a[name], b[name]) for name in a))
"""


def make(folder):
    """Write two equal checkpoints of 16 codes."""
    random = generator(1)
    state = projection(random, 8) | book(*running_sums(random, 16, 8))
    for name in "ab":
        save(state, folder / f"tiny-{name}")


def measure(run: Run):
    isolated(make, run.folder)
    pair = [run.folder / f"tiny-{name}.pth" for name in "ab"]
    costs = interleave(
        {
            "python -c pass": Command(python("pass")),
            "import click": Command(python("import click")),
            "import click, dataclasses, hashlib": Command(python("import click, dataclasses, hashlib")),
            "vqcheck --version": Command(vqcheck("--version")),
            "vqcheck --help": Command(vqcheck("--help")),
            "vqcheck diff, tiny files": Command(vqcheck("diff", *pair)),
            "torch.load, tiny files": Command(python(TORCH_SCRIPT, *pair)),
        },
        run.samples,
        run.stage,
    )
    figures = []
    for name, rival, floor in (
        ("vqcheck --version", "python -c pass", "import click"),
        ("vqcheck --help", "python -c pass", "import click"),
        ("vqcheck diff, tiny files", "torch.load, tiny files", "import click, dataclasses, hashlib"),
    ):
        figures += time_and_memory("startup", name, costs, name, rivals=(rival,), floor=floor)
    return figures
